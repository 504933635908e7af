/** The declared parameters of actions: defaults, types, and names that nobody declared. */
import { InvalidArgumentError, ValidationError } from './errors.js';
import { checkName, didYouMean } from './names.js';
import { checkOptions, checkText } from './options.js';

/** What JSON knows, by its JavaScript names. */
export type ParameterType = 'string' | 'number' | 'boolean' | 'object' | 'array' | 'any';

/** One parameter of an action: checked, and its default filled in, before the handler is called. */
export interface ActionParameter {
  name: string;
  /** 'any' takes every value. */
  type: ParameterType;
  required: boolean;
  description?: string;
  /** Taken where the parameter is absent. */
  defaultValue?: unknown;
  /** true: fine. false or text: refused, the text says why. It may also throw. */
  validation?: (value: any) => boolean | string | void;
}

/** What validators such as zod, valibot and arktype implement: https://standardschema.dev. */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    /** Gives the value, with its defaults, or what is wrong with it. */
    readonly validate: (
      value: unknown,
    ) => StandardSchemaResult<Output> | Promise<StandardSchemaResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

type StandardSchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/** How parameters are declared: as a list, or with a validator. */
export type ActionParameters = readonly ActionParameter[] | StandardSchema<any>;

/** What becomes of parameters that were not declared. */
export type UnknownParameters = 'refuse' | 'strip' | 'allow';

const types: readonly ParameterType[] = ['string', 'number', 'boolean', 'object', 'array', 'any'];

const parameterOptionNames = [
  'name',
  'type',
  'required',
  'description',
  'defaultValue',
  'validation',
] as const;

export function isStandardSchema(parameters: unknown): parameters is StandardSchema<any> {
  return (
    (typeof parameters === 'object' || typeof parameters === 'function') &&
    parameters !== null &&
    '~standard' in parameters
  );
}

/** Refuses declarations that could not be meant. */
export function checkDeclaration(action: string, parameters: unknown): void {
  if (isStandardSchema(parameters)) {
    if (typeof parameters['~standard']?.validate !== 'function') {
      throw new InvalidArgumentError(`Action '${action}': its schema has no '~standard'.validate`);
    }
    return;
  }
  if (!Array.isArray(parameters)) {
    throw new InvalidArgumentError(
      `Action '${action}': parameters must be a list of { name, type, required } or a schema that ` +
        `implements Standard Schema`,
    );
  }
  const seen = new Set<string>();
  for (const [i, parameter] of (parameters as Partial<ActionParameter>[]).entries()) {
    const name = checkName(parameter?.name, `Action '${action}': the name of parameter ${i}`);
    if (seen.has(name)) {
      throw new InvalidArgumentError(`Action '${action}' declares the parameter '${name}' twice`);
    }
    seen.add(name);
    const what = `Action '${action}': parameter '${name}'`;
    checkOptions(what, parameter, parameterOptionNames);
    checkText(`${what}: its description`, parameter.description);
    if (parameter.required !== undefined && typeof parameter.required !== 'boolean') {
      throw new InvalidArgumentError(`${what}: required can be true or false`);
    }
    if (!types.includes(parameter.type as ParameterType)) {
      throw new InvalidArgumentError(
        `Action '${action}': parameter '${name}' has the type '${String(parameter.type)}'. It can ` +
          `be ${types.join(', ')}`,
      );
    }
    if (parameter.defaultValue !== undefined && !fits(parameter.defaultValue, parameter.type!)) {
      throw new InvalidArgumentError(
        `Action '${action}': the default of parameter '${name}' is no ${parameter.type}`,
      );
    }
    if (parameter.validation !== undefined && typeof parameter.validation !== 'function') {
      throw new InvalidArgumentError(
        `Action '${action}': the validation of parameter '${name}' must be a function`,
      );
    }
  }
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function fits(value: unknown, type: ParameterType): boolean {
  return type === 'any' || typeName(value) === type;
}

function problemsOf(parameter: ActionParameter, value: unknown): string | undefined {
  const { name, type, validation } = parameter;
  if (!fits(value, type)) return `${name}: must be ${article(type)}, not ${describe(value)}`;
  if (validation === undefined) return undefined;
  try {
    const verdict = validation(value);
    if (verdict === false) return `${name}: ${describe(value)} is not valid`;
    return typeof verdict === 'string' ? `${name}: ${verdict}` : undefined;
  } catch (error) {
    return `${name}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function article(type: string): string {
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

function describe(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${article(typeName(value))} (${text.slice(0, 40)}…)`;
}

function refuse(what: string, issues: string[]): never {
  throw new ValidationError(`${what}: ${issues.join('; ')}`, issues);
}

/**
 * The parameters with defaults filled in; a promise only where a schema takes its time. Throws or
 * rejects with a ValidationError that names every problem.
 */
export function validateParameters(
  action: string,
  declared: ActionParameters,
  unknown: UnknownParameters,
  given: unknown,
): any {
  const what = `Action '${action}'`;
  if (isStandardSchema(declared)) return validateWithSchema(what, declared, given);
  if (typeName(given) !== 'object') {
    refuse(what, [`parameters must be an object, not ${describe(given)}`]);
  }
  const values = given as Record<string, unknown>;
  const issues: string[] = [];
  const checked: [string, unknown][] = [];
  const names = new Set(declared.map(({ name }) => name));
  for (const parameter of declared) {
    const { name, required, defaultValue } = parameter;
    const present = Object.hasOwn(values, name) ? values[name] : undefined;
    const value = present === undefined ? structuredClone(defaultValue) : present;
    if (value === undefined) {
      if (required) issues.push(`${name}: is missing`);
      continue;
    }
    const problem = problemsOf(parameter, value);
    if (problem === undefined) checked.push([name, value]);
    else issues.push(problem);
  }
  for (const name of Object.keys(values)) {
    if (names.has(name) || unknown === 'strip') continue;
    if (unknown === 'allow') checked.push([name, values[name]]);
    else issues.push(`${name}: is not a parameter of it${didYouMean(name, names)}`);
  }
  if (issues.length > 0) refuse(what, issues);
  return Object.fromEntries(checked);
}

/** The result as the schema gives it. Throws, or rejects, with a ValidationError. */
export function validateResult(action: string, schema: StandardSchema<any>, result: unknown): any {
  return validateWithSchema(`Result of action '${action}'`, schema, result);
}

function validateWithSchema(what: string, schema: StandardSchema<any>, given: unknown): any {
  const result = schema['~standard'].validate(given);
  return result instanceof Promise
    ? result.then((settled) => schemaValue(what, settled))
    : schemaValue(what, result);
}

function schemaValue(what: string, result: StandardSchemaResult<any>): any {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map(({ message, path }) => {
    const keys = (path ?? []).map((part) => String(typeof part === 'object' ? part.key : part));
    return keys.length === 0 ? message : `${keys.join('.')}: ${message}`;
  });
  return refuse(what, issues);
}
