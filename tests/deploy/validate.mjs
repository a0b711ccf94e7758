// Validates objects of the Prometheus operator: `node validate.mjs FOLDER <objects.json`, a list of objects, with the
// packages of FOLDER. It prints what is wrong.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const models = 'node_modules/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index.js';
const kinds = await import(pathToFileURL(`${process.argv[2]}/${models}`));

for (const object of JSON.parse(readFileSync(0))) {
  const name = `${object.kind} ${object.metadata.name}`;
  try {
    new kinds[object.kind](object).validate();
  } catch (error) {
    console.log(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
