import { EventEmitter } from 'node:events';
import { isIPv6 } from 'node:net';
import type { Fault, FaultDetails } from './faults.js';
import { GatewayHttp, type SimulatedExchange } from './gateway-http.js';
import {
  Lifecycle,
  type MessageStatus,
  type SimulatedCallback,
  type SimulatedMessage,
  type StatusDetails,
} from './lifecycle.js';
import { Inbox } from './inbox/inbox.js';
import {
  adjust,
  problemOfCallbackUrl,
  type RtSmsSimulatorAdjustments,
  type RtSmsSimulatorOptions,
  type Settings,
  settle,
} from './options.js';
import { SEND_PATH } from './protocol.js';
import { Schedule } from './schedule.js';

/** What a simulator tells while it runs. Listeners are called in line: one that throws breaks what it listens to. */
export interface RtSmsSimulatorEvents {
  /** A message was accepted; its POST is not answered yet. */
  message: [SimulatedMessage];
  /** The status of a message changed; its callback is still to come. */
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
/** Where a server that listens on all addresses is reached from this machine. */
const REACHED_AT = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);

/**
 * The provider's SMS gateway, as far as its document goes: a real HTTP server on a real port.
 *
 * Left alone it behaves like the real thing: it checks credentials, addresses and fields, statuses advance by
 * themselves, callbacks are sent. `MAGIC_NUMBERS` give each outcome without code; `nextSend()`, `nextStatus()` and
 * `report()` give it from a test.
 */
export class RtSmsSimulator extends EventEmitter<RtSmsSimulatorEvents> {
  /** The seed in use; start another simulator with it to see the same run again. */
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
    const inbox = settings.inbox ? new Inbox(this, settings.inbox.hosts, this.#schedule) : undefined;
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
   * Starts a gateway; with no options on a free port of the loopback, callbacks off until `callTo()`.
   *
   * @throws TypeError that lists every wrong option
   * @throws Error that names the port, where it is in use or cannot be had
   */
  static async start(options: RtSmsSimulatorOptions = {}): Promise<RtSmsSimulator> {
    const simulator = new this(settle(options));
    simulator.#port = await simulator.#http.listen();
    return simulator;
  }

  /** The address of the API (§1.3): `http://127.0.0.1:PORT/api/v2/send_message`. */
  get url(): string {
    const host = REACHED_AT.get(this.#settings.host) ?? this.#settings.host;
    return `http://${isIPv6(host) ? `[${host}]` : host}:${this.#port}${SEND_PATH}`;
  }

  /** Ready to spread into the options of a client. */
  get options(): { readonly login: string; readonly password: string; readonly url: string } {
    return { login: this.#settings.login, password: this.#settings.password, url: this.url };
  }

  /** Where the inbox is, if the option `inbox` has it served. */
  get inboxUrl(): string | undefined {
    return this.#inbox && new URL('/', this.url).href;
  }

  /** Where callbacks go. */
  get callbackUrl(): string | undefined {
    return this.#lifecycle.callbackUrl;
  }

  /** The settings that `adjust()` may change, as they stand. */
  get adjustments(): Required<RtSmsSimulatorAdjustments> {
    const { loss, duplicate, reorder, latencyMs, perSecond, lifecycle } = this.#settings;
    return { loss, duplicate, reorder, latencyMs, perSecond, lifecycle };
  }

  /** The accepted messages, oldest first, as many as `maxMessages`. A new array each time, of living objects. */
  get messages(): readonly SimulatedMessage[] {
    return this.#lifecycle.messages;
  }

  /** How many requests were read to their end, whatever was answered. */
  get requests(): { readonly post: number; readonly get: number } {
    return { ...this.#http.requests };
  }

  /** The callbacks in the order they were sent or lost, the last 100 000. */
  get callbacks(): readonly SimulatedCallback[] {
    return this.#callbacks.list();
  }

  /** The last 200 requests with their answers. */
  get exchanges(): readonly SimulatedExchange[] {
    return this.#exchanges.list();
  }

  /**
   * Sets, changes or (undefined) takes away the callback address. What is under way keeps its old one.
   *
   * @throws TypeError if it is no http or https URL
   */
  callTo(url: string | undefined): void {
    const problem = url === undefined ? undefined : problemOfCallbackUrl(url);
    if (problem !== undefined) throw new TypeError(`callTo: the address ${problem}`);
    this.#lifecycle.callbackUrl = url;
    this.#inbox?.settingsChanged();
  }

  /**
   * Changes options of a running simulator, from the next request or change of status on; what is not named stays.
   * Messages that came while `lifecycle` was false are not advanced by turning it on.
   *
   * @throws TypeError that lists every wrong change
   */
  adjust(changes: RtSmsSimulatorAdjustments): void {
    adjust(this.#settings, changes);
    this.#inbox?.settingsChanged();
  }

  /** The first accepted message that fits, be it there already or still to come. Rejects when the simulator closes. */
  waitForMessage(predicate: (message: SimulatedMessage) => boolean = () => true): Promise<SimulatedMessage> {
    const found = new Promise<SimulatedMessage>((resolve, reject) => {
      const waiter = { predicate, resolve, reject };
      this.#waiters.add(waiter);
      for (const message of this.messages) {
        if (!this.#waiters.has(waiter)) break;
        this.#offer(message, waiter);
      }
      if (this.#closing) this.#giveUp();
    });
    // A test that gave up waiting must not fail once more by an unhandled rejection.
    found.catch(() => undefined);
    return found;
  }

  /**
   * Changes the status of a message and calls back; from then on the message is no longer advanced automatically.
   * The callback waits for the answer to the message's POST and for the callbacks before it; `loss`, `duplicate` and
   * `reorder` befall it too.
   *
   * @returns the callback once it was answered, failed or was lost; undefined where there is no callback address
   * @throws RangeError for a uid that is not among `messages`
   * @throws TypeError for an empty status or for parts that are no whole number greater than 0
   */
  async report(
    uid: string,
    status: MessageStatus,
    details: StatusDetails = {},
  ): Promise<SimulatedCallback | undefined> {
    if (status === '') throw new TypeError('report: the status is empty');
    const { parts } = details;
    if (parts !== undefined && !(Number.isInteger(parts) && parts > 0)) {
      throw new TypeError(`report: parts must be a whole number greater than 0, not ${parts}`);
    }
    return this.#lifecycle.report(uid, status, details);
  }

  /**
   * Sends the callback of the message's present status once more, whatever `loss` says; the lifecycle goes on.
   *
   * @returns the callback once it was answered or failed; undefined where there is no callback address
   * @throws RangeError for a uid that is not among `messages`, or for a message that has had no status yet
   */
  async resend(uid: string): Promise<SimulatedCallback | undefined> {
    return this.#lifecycle.resend(uid);
  }

  /**
   * Plays a fault on the next `times` POSTs, whatever is in them; faults play in the order they were asked for.
   *
   * @throws TypeError that says what is wrong with the fault
   */
  nextSend(fault: Fault, times = 1): void {
    this.#http.sendFaults.add(fault, times);
    this.#inbox?.settingsChanged();
  }

  /** The same for the next `times` status requests. */
  nextStatus(fault: Fault, times = 1): void {
    this.#http.statusFaults.add(fault, times);
    this.#inbox?.settingsChanged();
  }

  /** Forgets the faults that were not played yet, those with `times` Infinity among them. */
  clearFaults(): void {
    this.#http.sendFaults.clear();
    this.#http.statusFaults.clear();
    this.#inbox?.settingsChanged();
  }

  /** The faults that wait for requests to come, next first; `times` null: for ever. */
  get faults(): Readonly<
    Record<'send' | 'status', readonly { readonly fault: FaultDetails; readonly times: number | null }[]>
  > {
    return { send: this.#http.sendFaults.pending, status: this.#http.statusFaults.pending };
  }

  /** Ends the server, its connections, timers and callbacks in flight. May be called more than once. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#schedule.close();
    this.#lifecycle.close();
    this.#giveUp();
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

  #giveUp(): void {
    for (const { reject } of this.#waiters) reject(new Error('RtSmsSimulator was closed while waiting for a message'));
    this.#waiters.clear();
  }
}

/** The last so many of something. Cut back only when twice as many have come: cheap on average. */
class Recent<T> {
  readonly #kept: T[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(item: T): void {
    if (this.#kept.push(item) >= 2 * this.#limit) this.#kept.splice(0, this.#limit);
  }

  list(): T[] {
    return this.#kept.slice(-this.#limit);
  }
}
