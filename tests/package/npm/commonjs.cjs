'use strict';

const { use } = require('./use.cjs');

use(require('pawl'), 'required').catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
