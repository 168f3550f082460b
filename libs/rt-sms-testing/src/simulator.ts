import { EventEmitter } from 'node:events';
import { isIPv6 } from 'node:net';
import type { SimulatedExchange } from './exchange.js';
import type { Fault, FaultDetails } from './faults.js';
import { GatewayHttp } from './gateway-http.js';
import { Inbox } from './inbox/inbox.js';
import { Lifecycle } from './lifecycle.js';
import type { MessageStatus, SimulatedCallback, SimulatedMessage, StatusDetails } from './messages.js';
import {
  adjust,
  changePassword,
  problemOfCallbackUrl,
  resolveOptions,
  type RtSmsSimulatorAdjustments,
  type RtSmsSimulatorOptions,
  type Settings,
} from './options.js';
import { SEND_PATH } from './protocol.js';
import { Recent } from './recent.js';
import { Schedule } from './schedule.js';

/** Events of a running simulator. Listeners are called synchronously: an exception in one breaks the request or timer. */
export interface RtSmsSimulatorEvents {
  /** A message was accepted; its POST is not answered yet. */
  message: [SimulatedMessage];
  /** The status of a message changed; its callback follows. */
  status: [SimulatedMessage];
  /** A callback was answered, failed or was lost. */
  callback: [SimulatedCallback];
  /** A request was answered, or a fault played in place of the answer. */
  exchange: [SimulatedExchange];
}

interface Waiter {
  readonly predicate: (message: SimulatedMessage) => boolean;
  readonly resolve: (message: SimulatedMessage) => void;
  readonly reject: (error: Error) => void;
}

const KEPT_CALLBACKS = 100_000;
const KEPT_EXCHANGES = 200;
/** Addresses at which this machine reaches a server that listens on all addresses. */
const REACHED_AT = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);

/**
 * Simulates the provider's SMS gateway according to its document, as a real HTTP server on a real port.
 *
 * By default it behaves like the real gateway: it checks credentials, addresses and fields, advances statuses and sends
 * callbacks. `MAGIC_NUMBERS` produce each outcome without code; `nextSend()`, `nextStatus()` and `report()` produce it
 * from a test.
 */
export class RtSmsSimulator extends EventEmitter<RtSmsSimulatorEvents> {
  /** The seed in use; start another simulator with it to repeat the run. */
  readonly seed: number;
  readonly #settings: Settings;
  readonly #schedule = new Schedule();
  readonly #lifecycle: Lifecycle;
  readonly #http: GatewayHttp;
  readonly #inbox: Inbox | undefined;
  readonly #callbacks = new Recent<SimulatedCallback>(KEPT_CALLBACKS);
  readonly #exchanges = new Recent<SimulatedExchange>(KEPT_EXCHANGES);
  readonly #waiters = new Set<Waiter>();
  #port = 0;
  #closing: Promise<void> | undefined;

  private constructor(settings: Settings) {
    super();
    this.seed = settings.seed;
    this.#settings = settings;
    const inbox = settings.inbox ? new Inbox(this, settings.inbox.hosts, this.#schedule, settings.notice) : undefined;
    this.#inbox = inbox;
    this.#lifecycle = new Lifecycle(settings, this.#schedule, {
      status: (message) => {
        inbox?.changed(message.uid);
        this.emit('status', message);
      },
      sent: (callback) => {
        this.#callbacks.push(callback);
        inbox?.called(callback);
      },
      answered: (callback) => {
        inbox?.changed(callback.uid);
        this.emit('callback', callback);
      },
    });
    this.#http = new GatewayHttp(settings, this.#schedule, {
      accept: (...accepted) => {
        const message = this.#lifecycle.accept(...accepted);
        inbox?.arrived(message);
        this.emit('message', message);
        for (const waiter of this.#waiters) this.#offer(message, waiter);
        return {
          uid: message.uid,
          ready: settings.callbackBeforeAnswer ? this.#lifecycle.begin(message.uid) : undefined,
        };
      },
      answered: (uid) => this.#lifecycle.answered(uid),
      find: (uid) => this.#lifecycle.find(uid),
      exchange: (exchange) => {
        this.#exchanges.push(exchange);
        inbox?.exchanged(exchange);
        this.emit('exchange', exchange);
      },
      visit: inbox && ((request, response) => inbox.visit(request, response)),
    });
  }

  /**
   * Starts a gateway. Without options it uses a free port of the loopback interface, and callbacks are off until `callTo()`.
   *
   * @throws TypeError that lists every invalid option
   * @throws Error that names the port if it is in use or not permitted
   */
  static async start(options: RtSmsSimulatorOptions = {}): Promise<RtSmsSimulator> {
    const simulator = new this(resolveOptions(options));
    simulator.#port = await simulator.#http.listen();
    return simulator;
  }

  /** The address of the API (§1.3): `http://127.0.0.1:PORT/api/v2/send_message`. */
  get url(): string {
    const host = REACHED_AT.get(this.#settings.host) ?? this.#settings.host;
    return `http://${isIPv6(host) ? `[${host}]` : host}:${this.#port}${SEND_PATH}`;
  }

  /** Login, password and address, to spread into the options of a client. */
  get options(): { readonly login: string; readonly password: string; readonly url: string } {
    return { login: this.#settings.login, password: this.#settings.password, url: this.url };
  }

  /** Address of the inbox, `undefined` without the option `inbox`. */
  get inboxUrl(): string | undefined {
    return this.#inbox && new URL('/', this.url).href;
  }

  /** Address for callbacks, `undefined` if none are sent. */
  get callbackUrl(): string | undefined {
    return this.#lifecycle.callbackUrl;
  }

  /** Current values of the settings that `adjust()` can change. */
  get adjustments(): Required<RtSmsSimulatorAdjustments> {
    const { loss, duplicate, reorder, latencyMs, perSecond, lifecycle } = this.#settings;
    return { loss, duplicate, reorder, latencyMs, perSecond, lifecycle };
  }

  /** The last `maxMessages` accepted messages, oldest first. Each call returns a new array of live objects. */
  get messages(): readonly SimulatedMessage[] {
    return this.#lifecycle.messages;
  }

  /** Number of requests that were read to their end, regardless of the answer. */
  get requests(): { readonly post: number; readonly get: number } {
    return { ...this.#http.requests };
  }

  /** The last 100 000 callbacks, in the order in which they were sent or lost. */
  get callbacks(): readonly SimulatedCallback[] {
    return this.#callbacks.list();
  }

  /** The last 200 requests with their answers. */
  get exchanges(): readonly SimulatedExchange[] {
    return this.#exchanges.list();
  }

  /**
   * Sets, changes or (with undefined) removes the callback address. Callbacks in flight keep the old one.
   *
   * @throws TypeError if it is not an http or https URL
   */
  callTo(url: string | undefined): void {
    const problem = url === undefined ? undefined : problemOfCallbackUrl(url);
    if (problem !== undefined) throw new TypeError(`callTo: the address ${problem}`);
    this.#lifecycle.callbackUrl = url;
    this.#inbox?.settingsChanged();
  }

  /**
   * Changes the password that clients must use, from the next request on, as a change in the provider's cabinet does.
   *
   * @throws TypeError if it is not a string, or empty
   */
  changePassword(password: string): void {
    changePassword(this.#settings, password);
  }

  /**
   * Changes options of a running simulator, from the next request or change of status on; options that are not named
   * stay. Turning `lifecycle` on does not advance messages that were accepted while it was false.
   *
   * @throws TypeError that lists every invalid change
   */
  adjust(changes: RtSmsSimulatorAdjustments): void {
    adjust(this.#settings, changes);
    this.#inbox?.settingsChanged();
  }

  /** Resolves with the first accepted message that matches, a past or a future one. Rejects when the simulator closes. */
  waitForMessage(predicate: (message: SimulatedMessage) => boolean = () => true): Promise<SimulatedMessage> {
    const found = new Promise<SimulatedMessage>((resolve, reject) => {
      const waiter = { predicate, resolve, reject };
      this.#waiters.add(waiter);
      for (const message of this.messages) {
        if (!this.#waiters.has(waiter)) break;
        this.#offer(message, waiter);
      }
      if (this.#closing) this.#rejectWaiters();
    });
    // A test that has stopped waiting must not fail with an unhandled rejection.
    found.catch(() => undefined);
    return found;
  }

  /**
   * Changes the status of a message and sends the callback; this ends the automatic lifecycle of the message.
   * The callback waits for the answer to the message's POST and for earlier callbacks; `loss`, `duplicate` and `reorder`
   * apply to it too.
   *
   * @returns the callback after it was answered, failed or was lost; undefined if a callback address is not set
   * @throws RangeError for a uid that is not among `messages`
   * @throws TypeError for an empty status or for parts that are not a whole number greater than 0
   */
  async report(
    uid: string,
    status: MessageStatus,
    details: StatusDetails = {},
  ): Promise<SimulatedCallback | undefined> {
    if (status === '') throw new TypeError('report: the status is empty. Fix: pass a status, such as "delivered"');
    const { parts } = details;
    if (parts !== undefined && !(Number.isInteger(parts) && parts > 0)) {
      throw new TypeError(`report: parts must be a whole number greater than 0, not ${parts}`);
    }
    return this.#lifecycle.report(uid, status, details);
  }

  /**
   * Sends the callback of the message's current status again, regardless of `loss`; the lifecycle continues.
   *
   * @returns the callback after it was answered or failed; undefined if a callback address is not set
   * @throws RangeError for a uid that is not among `messages`, or for a message that has had no status yet
   */
  async resend(uid: string): Promise<SimulatedCallback | undefined> {
    return this.#lifecycle.resend(uid);
  }

  /**
   * Plays a fault on the next `times` POSTs, regardless of their content; faults play in the order of these calls.
   *
   * @throws TypeError that names the problem with the fault
   */
  nextSend(fault: Fault, times = 1): void {
    this.#http.sendFaults.add(fault, times);
    this.#inbox?.settingsChanged();
  }

  /** Plays a fault on the next `times` status requests. */
  nextStatus(fault: Fault, times = 1): void {
    this.#http.statusFaults.add(fault, times);
    this.#inbox?.settingsChanged();
  }

  /** Removes the faults that have not been played yet, including those with `times` Infinity. */
  clearFaults(): void {
    this.#http.sendFaults.clear();
    this.#http.statusFaults.clear();
    this.#inbox?.settingsChanged();
  }

  /** Faults set for the next requests, next one first; `times` is null if a fault never ends. */
  get faults(): Readonly<
    Record<'send' | 'status', readonly { readonly fault: FaultDetails; readonly times: number | null }[]>
  > {
    return { send: this.#http.sendFaults.pending, status: this.#http.statusFaults.pending };
  }

  /** Stops the server, its connections, timers and callbacks in flight. May be called more than once. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#schedule.close();
    this.#lifecycle.close();
    this.#rejectWaiters();
    await this.#http.close();
  }

  #offer(message: SimulatedMessage, waiter: Waiter): void {
    try {
      if (!waiter.predicate(message)) return;
      waiter.resolve(message);
    } catch (error) {
      waiter.reject(error instanceof Error ? error : new Error(String(error)));
    }
    this.#waiters.delete(waiter);
  }

  #rejectWaiters(): void {
    for (const { reject } of this.#waiters) reject(new Error('RtSmsSimulator was closed while waiting for a message'));
    this.#waiters.clear();
  }
}
