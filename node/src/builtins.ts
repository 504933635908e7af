/** The actions that every registry has, unless it is made without. */
import { toMilliseconds, type Duration } from './durations.js';
import { ClosedError, NonRetryableError } from './errors.js';
import { callHttp, httpRequestOptions } from './http_request.js';
import { didYouMean } from './names.js';
import type {
  ActionContext,
  ActionHandler,
  ActionOptions,
  ActionRegistry,
  Notification,
  RuntimeOfActions,
} from './registry.js';
import { registerRecordActions } from './record_actions.js';
import { logLevels, type LogLevel } from './wire.js';

type Register = (action: ActionOptions, handler: ActionHandler) => void;

// Node's timers hold 31 bits of milliseconds.
const timerMsMax = 2 ** 31 - 1;

const level = {
  name: 'level',
  type: 'string',
  required: false,
  defaultValue: 'info',
  description: logLevels.join(', '),
  validation: (value: string) =>
    logLevels.includes(value as LogLevel) || `must be one of ${logLevels.join(', ')}`,
} as const;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = Date.now() + ms;
    let timer: NodeJS.Timeout;
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const next = () => {
      const left = end - Date.now();
      if (left > 0) {
        timer = setTimeout(next, Math.min(left, timerMsMax));
        return;
      }
      signal.removeEventListener('abort', stop);
      resolve();
    };
    signal.addEventListener('abort', stop, { once: true });
    next();
  });
}

function logParameters({ message, level: at, ...more }: Record<string, any>, { logger }: ActionContext) {
  logger[at as LogLevel](message as string, ...(Object.keys(more).length === 0 ? [] : [more]));
}

export function registerBuiltIns(registry: ActionRegistry, register: Register): void {
  register(
    {
      name: 'log_event',
      description: 'Writes a log line',
      category: 'logging',
      parameters: [{ name: 'message', type: 'string', required: true }, level],
      unknown: 'allow',
    },
    (params, context) => {
      logParameters(params, context);
      return { logged: true };
    },
  );

  register(
    {
      name: 'log_audit_event',
      description: 'Records what was done, by whom, to what; the history keeps it',
      category: 'logging',
      parameters: [{ name: 'message', type: 'string', required: true }, level],
      unknown: 'allow',
    },
    (params, context) => {
      logParameters(params, context);
      return { recorded: true, ...params };
    },
  );

  register(
    {
      name: 'send_notification',
      description: 'Sends a message to a recipient over a channel; the channel "log" logs it',
      category: 'communication',
      parameters: [
        { name: 'recipient', type: 'string', required: true },
        { name: 'message', type: 'string', required: true },
        { name: 'channel', type: 'string', required: false, defaultValue: 'log' },
      ],
      unknown: 'allow',
    },
    async (notification: Notification, context) => {
      const name = notification.channel;
      const send = registry.link.channel(name);
      if (send === undefined) {
        throw new NonRetryableError(
          `No notification channel '${name}' is registered${didYouMean(name, registry.link.channelNames())}`,
        );
      }
      const receipt = await send(notification, context);
      return { sent: true, channel: name, ...(receipt === undefined ? {} : { receipt }) };
    },
  );
  registry.registerNotificationChannel('log', ({ recipient, message }, { logger }) => {
    logger.info(`Notification to ${recipient}: ${message}`);
  });

  register(
    {
      name: 'wait',
      description: 'Waits. Workflows have context.sleep, which holds nothing open meanwhile',
      category: 'control',
      parameters: [
        {
          name: 'duration',
          type: 'any',
          required: true,
          description: "Milliseconds, or text such as '30s'",
          validation: (duration: Duration) => void toMilliseconds(duration),
        },
      ],
      timeout: '365d',
    },
    async ({ duration }: { duration: Duration }, { signal, scheduledAt }) => {
      // Counted from when it was asked for, so that a restart does not begin anew.
      const ms = toMilliseconds(duration);
      await pause(Math.max(0, scheduledAt + ms - Date.now()), signal);
      return { waited: ms };
    },
  );

  register(
    {
      name: 'start_workflow',
      description: 'Starts an execution by itself, once. Workflows have context.startChild for those that are theirs',
      category: 'workflow',
      parameters: [
        { name: 'workflow', type: 'string', required: true },
        { name: 'input', type: 'any', required: false },
        { name: 'version', type: 'string', required: false },
        { name: 'executionId', type: 'string', required: false, description: 'Made of the idempotency key, if absent' },
      ],
    },
    async ({ workflow, input, version, executionId }: Started, { tenant, idempotencyKey, correlationId }) => ({
      executionId: await runtimeOf(registry).startWorkflow(workflow, {
        tenant,
        initialData: input,
        ...(version === undefined ? {} : { version }),
        ...(executionId === undefined ? { idempotencyKey } : { executionId }),
        ...(correlationId === undefined ? {} : { correlationId }),
      }),
    }),
  );

  register(
    {
      name: 'emit_event',
      description: 'Sends an event to an execution, once, and gives its id. Workflows have context.events.emit',
      category: 'workflow',
      parameters: [
        { name: 'executionId', type: 'string', required: true },
        { name: 'name', type: 'string', required: true },
        { name: 'payload', type: 'any', required: false },
      ],
    },
    async ({ executionId, name, payload }: Emitted, { tenant, idempotencyKey }) => {
      const { eventId } = await runtimeOf(registry).enqueueEvent({
        execution_id: executionId,
        event_name: name,
        payload,
        tenant,
        idempotency_key: idempotencyKey,
      });
      return { eventId };
    },
  );

  register(httpRequestOptions, callHttp);
  registerRecordActions((action, handler) => register(action, handler as ActionHandler));
}

interface Started {
  workflow: string;
  input?: unknown;
  version?: string;
  executionId?: string;
}

interface Emitted {
  executionId: string;
  name: string;
  payload?: unknown;
}

/** The one that runs the action. */
function runtimeOf(registry: ActionRegistry): RuntimeOfActions {
  const { runtime } = registry.link;
  if (runtime === undefined) throw new ClosedError('The runtime was closed');
  return runtime;
}
