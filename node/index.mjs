// ESM and CommonJS share one implementation, and so one runtime per process.
export * from './dist/index.js';
