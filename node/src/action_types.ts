import type { ActionCallOptions } from './wire.js';

/**
 * The actions of your program, for the type-checker. Empty here; you add to it, once per action, in
 * any of your files:
 *
 *     declare module 'pawl' {
 *       interface ActionTypes {
 *         chargeCard: { parameters: { card: string; amount: number }; result: { receipt: string } };
 *       }
 *     }
 *
 * From then on `context.actions.chargeCard`, `registry.executeAction('ChargeCard', …)` and the
 * handler given to `registerSimpleAction('charge_card', …)` or `registerAction` are held to it; a
 * name is recognised in every casing, on `actions` in the one listed and in camelCase. An entry
 * without `parameters` or `result` leaves that one `any`, and so does an action that is not listed.
 *
 * Types are not checked at run time: the declaration that the action is registered with is. They
 * describe what is carried, so write `string` where a `Date` is given.
 */
export interface ActionTypes {}

/** What names that are one name have in common: `foldName` for types. */
type Folded<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? Folded<`${Head}${Tail}`>
  : Name extends `${infer Head}-${infer Tail}`
    ? Folded<`${Head}${Tail}`>
    : Lowercase<Name>;

type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? CamelCase<`${Head}${Capitalize<Tail>}`>
  : Name extends `${infer Head}-${infer Tail}`
    ? CamelCase<`${Head}${Capitalize<Tail>}`>
    : Uncapitalize<Name>;

type ByFoldedName = {
  [Name in keyof ActionTypes & string as Folded<Name>]: ActionTypes[Name];
};

// A name that is only known at run time, or not listed, has no entry.
type Entry<Name extends string> = string extends Name
  ? unknown
  : Folded<Name> extends keyof ByFoldedName
    ? ByFoldedName[Folded<Name>]
    : unknown;

type ParametersIn<Listed> = Listed extends { parameters: infer Parameters } ? Parameters : any;
type ResultIn<Listed> = Listed extends { result: infer Result } ? Result : any;

/** The parameters of the action of that name, in any casing; `any` if ActionTypes has none. */
export type ActionParametersOf<Name extends string> = ParametersIn<Entry<Name>>;

/** The result of the action of that name, in any casing; `any` if ActionTypes has none. */
export type ActionResultOf<Name extends string> = ResultIn<Entry<Name>>;

/** Whether a call may leave the parameters out: none of them is required. */
export type AllOptional<Parameters> = undefined extends Parameters
  ? true
  : {} extends Parameters
    ? true
    : false;

type ListedAction<Listed> = (
  ...call: AllOptional<ParametersIn<Listed>> extends true
    ? [parameters?: ParametersIn<Listed>, options?: ActionCallOptions]
    : [parameters: ParametersIn<Listed>, options?: ActionCallOptions]
) => Promise<ResultIn<Listed>>;

/**
 * `actions.sendNotification({ … })` runs the action of that name, in any casing, and gives its
 * result. Rejects with the error of its last attempt: an Error with the name, message, stack, code,
 * details and causes of what the handler threw, but not its class; with a PayloadError where the
 * parameters can't be carried, an InvalidArgumentError where the options make no sense. An action
 * that nobody has registered is waited for.
 *
 * The actions listed in {@link ActionTypes} are typed, all others take and give `any`.
 */
export type WorkflowActions = {
  [Name in keyof ActionTypes as Name | CamelCase<Name & string>]: ListedAction<ActionTypes[Name]>;
} & {
  /** An action that is not listed. */
  [name: string]: (parameters?: any, options?: ActionCallOptions) => Promise<any>;
};
