/**
 * What another attempt at an action is worth, told from what it threw. Codes are those of PostgreSQL
 * (SQLSTATE: appendix A of its manual), SQLite (its result codes), Node.js and its fetch (undici), and
 * the status codes of HTTP (RFC 9110).
 */
import { PawlError, PayloadError, ValidationError, type PawlErrorCode } from './errors.js';

/** How the engine treats a failed attempt. The first four are tried again. */
export type FailureClass =
  | 'transient'
  | 'contention'
  | 'external'
  | 'timeout'
  | 'permanent'
  | 'validation'
  | 'consistency';

/** What it makes of an error; undefined where it has nothing to say of it. */
export type FailureClassifier = (error: unknown) => FailureClass | undefined;

export const classNumbers: Record<FailureClass, number> = {
  transient: 0,
  contention: 1,
  external: 2,
  timeout: 3,
  permanent: 4,
  validation: 5,
  consistency: 6,
};

/** Beyond it a chain of causes is not looked at. */
export const causeDepthMax = 8;

const byNodeCode: Record<string, FailureClass> = {
  ETIMEDOUT: 'timeout',
  ESOCKETTIMEDOUT: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  UND_ERR_ABORTED: 'timeout',
  ECONNREFUSED: 'external',
  ECONNRESET: 'external',
  ECONNABORTED: 'external',
  ENOTFOUND: 'external',
  EAI_AGAIN: 'external',
  EAI_NODATA: 'external',
  EHOSTUNREACH: 'external',
  EHOSTDOWN: 'external',
  ENETUNREACH: 'external',
  ENETDOWN: 'external',
  ENETRESET: 'external',
  ENOTCONN: 'external',
  EPIPE: 'external',
  EPROTO: 'external',
  EIO: 'external',
  ENOSPC: 'external',
  EDQUOT: 'external',
  UND_ERR_SOCKET: 'external',
  UND_ERR_CLOSED: 'external',
  UND_ERR_DESTROYED: 'external',
  UND_ERR_INFO: 'external',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'external',
  UND_ERR_HEADERS_OVERFLOW: 'permanent',
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: 'permanent',
  UND_ERR_INVALID_ARG: 'permanent',
  UND_ERR_NOT_SUPPORTED: 'permanent',
  // Of certificates: somebody has to mend them, and may be about to.
  CERT_HAS_EXPIRED: 'external',
  CERT_NOT_YET_VALID: 'external',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'external',
  SELF_SIGNED_CERT_IN_CHAIN: 'external',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'external',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'external',
  ERR_TLS_CERT_ALTNAME_INVALID: 'external',
};

// By the first two characters of a SQLSTATE; what is not here is transient.
const bySqlClass: Record<string, FailureClass> = {
  '08': 'external', // connection exception
  '0A': 'permanent', // feature not supported
  '21': 'permanent', // cardinality violation
  '22': 'permanent', // data exception
  '23': 'consistency', // integrity constraint violation
  '25': 'permanent', // invalid transaction state
  '26': 'permanent', // invalid statement name
  '28': 'permanent', // invalid authorization
  '2B': 'consistency', // dependent privilege descriptors exist
  '2D': 'permanent', // invalid transaction termination
  '34': 'permanent', // invalid cursor name
  '3D': 'permanent', // invalid catalog name
  '3F': 'permanent', // invalid schema name
  '40': 'contention', // transaction rollback
  '42': 'permanent', // syntax error or access rule violation
  '44': 'consistency', // with check option violation
  '53': 'external', // insufficient resources
  '54': 'permanent', // program limit exceeded
  '55': 'permanent', // object not in prerequisite state
  '57': 'external', // operator intervention
  '58': 'external', // system error
  P0: 'permanent', // raised by a function
};

const bySqlState: Record<string, FailureClass> = {
  '25006': 'external', // read-only transaction: another server is the primary now
  '25P03': 'timeout', // idle in transaction for too long
  '40002': 'consistency', // integrity constraint violation
  '55006': 'contention', // object in use
  '55P03': 'contention', // lock not available
  '57014': 'timeout', // query cancelled: statement_timeout
  '57P04': 'permanent', // database dropped
};

// By the name of a primary result code; by its number below, as node:sqlite has it.
const bySqlite: Record<string, FailureClass> = {
  BUSY: 'contention',
  LOCKED: 'contention',
  PROTOCOL: 'contention',
  CONSTRAINT: 'consistency',
  FULL: 'external',
  IOERR: 'external',
  CANTOPEN: 'external',
  NOMEM: 'external',
  ERROR: 'permanent',
  PERM: 'permanent',
  READONLY: 'permanent',
  CORRUPT: 'permanent',
  NOTADB: 'permanent',
  TOOBIG: 'permanent',
  MISMATCH: 'permanent',
  MISUSE: 'permanent',
  AUTH: 'permanent',
  RANGE: 'permanent',
};

const sqliteNumbers: Record<number, string> = {
  1: 'ERROR',
  3: 'PERM',
  5: 'BUSY',
  6: 'LOCKED',
  7: 'NOMEM',
  8: 'READONLY',
  10: 'IOERR',
  11: 'CORRUPT',
  13: 'FULL',
  14: 'CANTOPEN',
  15: 'PROTOCOL',
  18: 'TOOBIG',
  19: 'CONSTRAINT',
  20: 'MISMATCH',
  21: 'MISUSE',
  23: 'AUTH',
  25: 'RANGE',
  26: 'NOTADB',
};

// Of Pawl's own refusals, where an action calls the runtime.
const byPawlCode: Partial<Record<PawlErrorCode, FailureClass>> = {
  invalid_argument: 'permanent',
  payload_refused: 'permanent',
  payload_too_large: 'permanent',
  unknown_workflow: 'permanent',
  unknown_execution: 'permanent',
  execution_ended: 'permanent',
  already_exists: 'permanent',
  unknown_action: 'permanent',
  wrong_status: 'permanent',
  overloaded: 'contention',
  timeout: 'timeout',
  lock_timeout: 'transient',
  lock_lost: 'transient',
  store_unavailable: 'external',
};

const byStatus: Record<number, FailureClass> = {
  400: 'validation',
  408: 'timeout',
  409: 'consistency',
  412: 'consistency',
  422: 'validation',
  423: 'contention',
  425: 'external',
  429: 'external',
  501: 'permanent',
  504: 'timeout',
  505: 'permanent',
};

const sqlState = /^[0-9P][0-9A-Z]{4}$/;
const sqliteCode = /^SQLITE_([A-Z]+)(_|$)/;
// What Node.js says of a call that can never work.
const misuse = /^ERR_(INVALID|UNKNOWN|OUT_OF_RANGE|MISSING)(_|$)/;

function ofCode(code: string): FailureClass | undefined {
  const known = byNodeCode[code];
  if (known !== undefined) return known;
  if (sqlState.test(code)) return bySqlState[code] ?? bySqlClass[code.slice(0, 2)];
  const sqlite = sqliteCode.exec(code)?.[1];
  if (sqlite !== undefined) return bySqlite[sqlite];
  if (code.startsWith('HPE_')) return 'external'; // an answer that is no HTTP
  return misuse.test(code) ? 'permanent' : undefined;
}

/** Of an answer by HTTP. */
function classOfStatus(status: number): FailureClass | undefined {
  if (!Number.isInteger(status) || status < 300 || status > 599) return undefined;
  return byStatus[status] ?? (status >= 500 ? 'external' : 'permanent');
}

const members = [
  'retryable',
  'failureClass',
  'name',
  'code',
  'errcode',
  'status',
  'statusCode',
  'response',
  'cause',
] as const;

/** Those members that can be read: a getter may throw, and a revoked proxy has none. */
export function membersOf<Key extends string>(
  object: object,
  keys: readonly Key[],
): { [K in Key]?: unknown } {
  const found: { [K in Key]?: unknown } = {};
  for (const key of keys) {
    try {
      found[key] = (object as { [K in Key]?: unknown })[key];
    } catch {
      // As if it were not there: what else there is says more than this.
    }
  }
  return found;
}

/** instanceof asks a proxy for its prototype, and a revoked one has none to tell. */
export function isA(value: unknown, constructor: abstract new (...args: any[]) => unknown): boolean {
  try {
    return value instanceof constructor;
  } catch {
    return false;
  }
}

export function isFailureClass(value: unknown): value is FailureClass {
  return typeof value === 'string' && Object.hasOwn(classNumbers, value);
}

function ofResponse(response: unknown): FailureClass | undefined {
  if (typeof response !== 'object' || response === null) return undefined;
  return classOfStatus(membersOf(response, ['status'] as const).status as number);
}

function ofError(error: object): { found?: FailureClass | undefined; cause: unknown } {
  const { retryable, failureClass, name, code, errcode, status, statusCode, response, cause } =
    membersOf(error, members);
  if (retryable === false) return { found: 'permanent', cause };
  if (isFailureClass(failureClass)) return { found: failureClass, cause };
  if (isA(error, ValidationError)) return { found: 'validation', cause };
  if (isA(error, PayloadError)) return { found: 'permanent', cause };
  if (isA(error, PawlError) && typeof code === 'string') {
    const found = byPawlCode[code as PawlErrorCode];
    if (found !== undefined) return { found, cause };
  }
  if (name === 'TimeoutError' || name === 'AbortError') return { found: 'timeout', cause };
  const found =
    (code === 'ERR_SQLITE_ERROR' && typeof errcode === 'number'
      ? bySqlite[sqliteNumbers[errcode & 0xff] ?? '']
      : undefined) ??
    (typeof code === 'string' ? ofCode(code) : undefined) ??
    classOfStatus(status as number) ??
    classOfStatus(statusCode as number) ??
    ofResponse(response);
  return { found, cause };
}

/**
 * What another attempt at the thing that threw `error` is worth: what one of `own` says, the first of
 * them first, or what is known here of it or of what caused it. Unclassifiable is transient. Never
 * throws.
 */
export function classify(error: unknown, own: readonly FailureClassifier[] = []): FailureClass {
  for (const classifier of own) {
    try {
      const found = classifier(error);
      if (isFailureClass(found)) return found;
    } catch {
      // Nothing to say of it.
    }
  }
  for (let at: unknown = error, depth = 0; depth < causeDepthMax; depth++) {
    if (typeof at !== 'object' || at === null) break;
    const { found, cause } = ofError(at);
    if (found !== undefined) return found;
    // fetch() wraps what went wrong: TypeError: fetch failed, caused by ECONNREFUSED.
    at = cause;
  }
  return 'transient';
}
