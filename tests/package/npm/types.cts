// … and by require.
import pawl = require('pawl');

export const name: string = pawl.defineWorkflow('Empty', async () => {}).metadata.name;
