'use strict';

// Finds and loads the compiled core. An installed package carries it under prebuilt/; a checkout
// has it in its build folder. PAWL_ADDON names another one, such as a debug build. Sources import it
// as '../addon.cjs', which is the same path from src/ and, compiled, from dist/.

const { existsSync } = require('node:fs');
const { join } = require('node:path');

const platform = `${process.platform}-${process.arch}`;
const places = process.env.PAWL_ADDON
  ? [process.env.PAWL_ADDON]
  : [
      join(__dirname, 'prebuilt', platform, 'pawl.node'),
      join(__dirname, '..', 'build', 'release', 'node', 'pawl.node'),
    ];
const found = places.find((place) => existsSync(place));
if (found === undefined) {
  throw new Error(
    `pawl: no compiled core for ${platform}; looked for ${places.join(' and ')}. ` +
      'In a checkout, build it with "make build".',
  );
}
module.exports = require(found);
