import * as pawl from 'pawl';
import { use } from './use.cjs';

await use(pawl, 'imported');
