/** The built-in action that calls somebody by HTTP. */
import { encode } from './codec.js';
import { toMilliseconds, type Duration } from './durations.js';
import { NonRetryableError, ValidationError } from './errors.js';
import type { ActionContext, ActionOptions } from './registry.js';

/** What http_request is given. */
export interface HttpRequest {
  url: string;
  method: string;
  headers: Record<string, string>;
  /** Text and bytes as they are, all else as JSON. */
  body?: unknown;
  /** Of the whole exchange. */
  timeout: Duration;
  /** The body of an answer may have so many bytes. */
  responseBytesMax: number;
  /** What becomes of an answer from 400 on: false, a failure; true, a result like any other. */
  acceptErrors: boolean;
}

/** What it gives. */
export interface HttpResponse {
  status: number;
  /** Where the answer came from in the end. */
  url: string;
  /** By lower-case name. */
  headers: Record<string, string>;
  /** JSON as its value, text as text, anything else as bytes; null where there is none. */
  body: unknown;
}

/** An answer that says that it went wrong. */
class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly code: string;
  /** By which it is classified. */
  readonly status: number;

  constructor(
    request: string,
    readonly details: { status: number; url: string; headers: Record<string, string>; body: unknown },
  ) {
    super(`${request} was answered with ${details.status}`);
    this.code = `HTTP_${details.status}`;
    this.status = details.status;
  }
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const keyHeader = 'idempotency-key';
const responseBytesDefault = 1024 * 1024;
// Of the body of an error, as far as it goes into the history.
const errorTextMax = 4096;
const kinds = { json: /^application\/(.+\+)?json\b/i, text: /^(text\/|application\/(.+\+)?xml\b)/i };

export const httpRequestOptions: ActionOptions = {
  name: 'http_request',
  description: 'Calls a server by HTTP, with the idempotency key of the action as a header',
  category: 'integration',
  parameters: [
    { name: 'url', type: 'string', required: true, validation: checkUrl },
    {
      name: 'method',
      type: 'string',
      required: false,
      defaultValue: 'GET',
      description: methods.join(', '),
      validation: (method: string) =>
        methods.includes(method.toUpperCase()) || `must be one of ${methods.join(', ')}`,
    },
    { name: 'headers', type: 'object', required: false, defaultValue: {}, validation: checkHeaders },
    {
      name: 'body',
      type: 'any',
      required: false,
      description: 'Text and bytes as they are, all else as JSON',
    },
    {
      name: 'timeout',
      type: 'any',
      required: false,
      defaultValue: '30s',
      description: "Of the whole exchange: milliseconds, or text such as '30s'",
      validation: (timeout: Duration) => void toMilliseconds(timeout),
    },
    {
      name: 'responseBytesMax',
      type: 'number',
      required: false,
      defaultValue: responseBytesDefault,
      description: 'The body of an answer may have so many bytes',
      validation: (bytes: number) => (Number.isSafeInteger(bytes) && bytes >= 0) || 'must be a whole number',
    },
    {
      name: 'acceptErrors',
      type: 'boolean',
      required: false,
      defaultValue: false,
      description: 'Whether an answer from 400 on is a result, and no failure',
    },
  ],
  // That of the exchange is shorter, and says what it was that took so long.
  timeout: '1h',
};

function checkUrl(text: string): string | true {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return 'is no URL';
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return `can't be called by ${url.protocol}`;
  if (url.username !== '' || url.password !== '') {
    return 'has a user name or a password in it: they go into a header, Authorization';
  }
  return true;
}

function checkHeaders(headers: Record<string, unknown>): string | true {
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string') return `${name} must be text`;
  }
  new Headers(headers as Record<string, string>);
  return true;
}

function bodyOf(body: unknown, headers: Headers): string | Uint8Array<ArrayBuffer> | undefined {
  if (body === undefined || body === null) return undefined;
  const ofKind = (kind: string) => {
    if (!headers.has('content-type')) headers.set('content-type', kind);
  };
  if (typeof body === 'string') {
    ofKind('text/plain; charset=utf-8');
    return body;
  }
  if (body instanceof Uint8Array) {
    ofKind('application/octet-stream');
    return new Uint8Array(body);
  }
  ofKind('application/json');
  return JSON.stringify(body);
}

/** No more than it may have: a server that never stops sending is left at that. */
async function read(response: Response, max: number, request: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the stream.
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.byteLength;
    if (bytes > max) {
      throw Object.assign(
        new NonRetryableError(`${request} was answered with more than ${max} bytes (responseBytesMax)`),
        { code: 'response_too_large' },
      );
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function valueOf(bytes: Uint8Array, kind: string): unknown {
  if (bytes.byteLength === 0) return null;
  if (!kinds.json.test(kind) && !kinds.text.test(kind)) return new Uint8Array(bytes);
  const text = new TextDecoder().decode(bytes);
  if (!kinds.json.test(kind)) return text;
  try {
    const value: unknown = JSON.parse(text);
    encode(value, 'body');
    return value;
  } catch {
    // No JSON, or none that can be carried on: numbers and texts that it has no room for.
    return text;
  }
}

/** What comes several times is one, as in all lists of HTTP. */
function headersOf(headers: Headers): Record<string, string> {
  const all: Record<string, string> = {};
  for (const [name, value] of headers) {
    all[name] = Object.hasOwn(all, name) ? `${all[name]}, ${value}` : value;
  }
  return all;
}

/** What fetch says of one that came to nothing is in its cause, and where it went, nowhere. */
function failedFetch(error: unknown, request: string): unknown {
  if (!(error instanceof TypeError) || error.message !== 'fetch failed') return error;
  const { cause } = error as { cause?: { code?: unknown; message?: string } };
  const failed = new Error(`${request} came to nothing: ${cause?.message ?? 'fetch failed'}`, { cause });
  failed.name = 'FetchError';
  // Without a code it is no matter of the network: a redirect to where nobody may be sent, or in circles.
  return typeof cause?.code === 'string'
    ? Object.assign(failed, { code: cause.code })
    : Object.assign(failed, { retryable: false });
}

function excerpt(body: unknown): unknown {
  const text = typeof body === 'string' ? body : body instanceof Uint8Array ? '' : JSON.stringify(body);
  return text.length <= errorTextMax ? body : `${text.slice(0, errorTextMax)}…`;
}

export async function callHttp(params: HttpRequest, context: ActionContext): Promise<HttpResponse> {
  const method = params.method.toUpperCase();
  const headers = new Headers(params.headers);
  if (!headers.has(keyHeader)) headers.set(keyHeader, context.idempotencyKey);
  const body = bodyOf(params.body, headers);
  if (body !== undefined && (method === 'GET' || method === 'HEAD')) {
    throw new ValidationError(`Action 'http_request': body: ${method} has none`, [`body: ${method} has none`]);
  }
  const limit = AbortSignal.timeout(toMilliseconds(params.timeout));
  const { origin, pathname } = new URL(params.url);
  // Without its query, which may hold secrets.
  const request = `${method} ${origin}${pathname}`;
  try {
    const response = await fetch(params.url, {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.any([context.signal, limit]),
    });
    const bytes = await read(response, params.responseBytesMax, request);
    const answer: HttpResponse = {
      status: response.status,
      url: response.url,
      headers: headersOf(response.headers),
      body: valueOf(bytes, response.headers.get('content-type') ?? ''),
    };
    if (answer.status < 400 || params.acceptErrors) return answer;
    throw new HttpError(request, { ...answer, body: excerpt(answer.body) });
  } catch (error) {
    if (limit.aborted && !context.signal.aborted) {
      const late = new Error(`${request} was not answered within ${String(params.timeout)}`, { cause: error });
      late.name = 'TimeoutError';
      throw late;
    }
    throw failedFetch(error, request);
  }
}
