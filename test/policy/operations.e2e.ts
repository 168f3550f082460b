import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { RtSmsModule, RtSmsService } from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { parse } from 'yaml';
import { atEnd, start } from '../platforms.js';
import { describeWith, findProgram, onPath, required } from '../programs.js';
import { registerExporter } from '../prometheus.js';

interface Rule {
  alert: string;
  expr: string;
  annotations: Record<string, string>;
}
interface Panel {
  title: string;
  targets: { expr: string; legendFormat: string }[];
}
interface Dashboard {
  panels: Panel[];
  templating: { list: { query: string }[] };
}

const folder = resolve(import.meta.dirname, '../../docs/operations');
const RULES = join(folder, 'prometheus-rules.yml');
const { rules } = (parse(readFileSync(RULES, 'utf8')) as { groups: [{ rules: Rule[] }] }).groups[0];
const dashboard = JSON.parse(readFileSync(join(folder, 'grafana-dashboard.json'), 'utf8')) as Dashboard;

/** Series of an account with a policy, as the exporter writes them: `name{labels}`. */
async function exportedSeries(): Promise<string[]> {
  const exporter = registerExporter();
  const gateway = await RtSmsSimulator.start({ lifecycle: false });
  atEnd(() => gateway.close());
  const options = { ...gateway.options, shortcode: 'SHOP', policy: { segmentsPerDay: 10 } };
  const { app } = await start('express', { imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot(options)] });
  await app.get(RtSmsService).send({ msisdn: '79270000001', text: 'Hello' });
  const { resourceMetrics } = await exporter.collect();
  const text = new PrometheusSerializer().serialize(resourceMetrics);
  return [...text.matchAll(/^(rt_sms_\w+\{.*\}) \S+$/gm)].map(([, series]) => series!);
}

/** Values of each label of each metric. */
function labelsOf(series: readonly string[]): Map<string, Map<string, Set<string>>> {
  const known = new Map<string, Map<string, Set<string>>>();
  for (const each of series) {
    const [, name = '', labels = ''] = /^(\w+)\{(.*)\}$/.exec(each) ?? [];
    const metric = known.get(name) ?? new Map<string, Set<string>>();
    known.set(name, metric);
    for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g))
      metric.set(label, (metric.get(label) ?? new Set()).add(value));
  }
  return known;
}

/** Metrics, labels and values of labels in a query that the exporter does not have, and labels that its result lacks. */
function unknownIn(query: string, shown: string, known: ReturnType<typeof labelsOf>): string[] {
  const unknown: string[] = [];
  const grouped = [...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels]) => labels!.split(/, */));
  const rest = query.replaceAll(/\bby \([^)]*\)/g, '');
  for (const [, name = '', selector = ''] of rest.matchAll(/\b(rt_sms_\w+)(?:\{([^}]*)\})?/g)) {
    const labels = known.get(name);
    if (!labels) unknown.push(name);
    for (const label of labels ? grouped : []) if (!labels!.has(label)) unknown.push(`${name} by ${label}`);
    for (const [, label = '', operator, value = ''] of labels ? selector.matchAll(/(\w+)(=~|!=|=)"([^"]*)"/g) : []) {
      const values = labels!.get(label);
      if (!values || (operator !== '=~' && !values.has(value))) unknown.push(`${name}{${label}="${value}"}`);
    }
  }
  for (const [, label = ''] of shown.matchAll(/(?:\$labels\.|\{\{ ?)(\w+)/g))
    if (!grouped.includes(label)) unknown.push(`shown ${label}`);
  return unknown;
}

const queries: [where: string, query: string, shown: string][] = [
  ...rules.map(({ alert, expr, annotations }): [string, string, string] => [
    alert,
    expr,
    Object.values(annotations).join(),
  ]),
  ...dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr, legendFormat }): [string, string, string] => [title, expr, legendFormat]),
  ),
  ...dashboard.templating.list.flatMap(({ query }): [string, string, string][] => {
    const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(query) ?? [];
    return metric === undefined ? [] : [['the variable of the dashboard', `sum by (${label}) (${metric})`, '']];
  }),
];

describe('docs/operations', () => {
  it('uses only metrics, labels and values of labels that the exporter has before the first failure', async () => {
    const known = labelsOf(await exportedSeries());
    expect(queries.length).toBeGreaterThan(15);
    expect(
      queries.flatMap(([where, ...query]) => unknownIn(...query, known).map((what) => `${where}: ${what}`)),
    ).toEqual([]);
    // Negative controls.
    const control = (query: string, shown = '') => unknownIn(query, shown, known);
    expect(control('rate(rt_sms_sent_total[5m])')).toEqual(['rt_sms_sent_total']);
    expect(control('rate(rt_sms_sends_total{outcome="unknown"}[5m])')).toHaveLength(1);
    expect(control('rate(rt_sms_sends_total{rt_sms_outcome="lost"}[5m])')).toHaveLength(1);
    expect(control('sum by (rt_sms_rule) (rt_sms_auth_open)')).toEqual(['rt_sms_auth_open by rt_sms_rule']);
    expect(control('sum by (rt_sms_account) (rt_sms_auth_open)', '{{ $labels.rt_sms_rule }}')).toHaveLength(1);
  });
});

/** Steps of 5 minutes for which the alert rules are played: two hours, and a day for those with a window of a day. */
const STEPS = 24;
const DAY_STEPS = 24 * 12;

describeWith({ promtool: () => findProgram(() => onPath('promtool'), 'prometheus') }, 'docs/operations, by %s', () => {
  const promtool = (...args: string[]) =>
    String(execFileSync(required(findProgram(() => onPath('promtool'), 'prometheus')), args, { stdio: 'pipe' }));
  const file = (name: string, content: object) => {
    const place = mkdtempSync(join(tmpdir(), 'rt-sms-rules-'));
    atEnd(() => rmSync(place, { recursive: true }));
    const path = join(place, name);
    // JSON is YAML.
    writeFileSync(path, JSON.stringify(content));
    return path;
  };

  it('the rules and the queries of the dashboard are valid', () => {
    expect(promtool('check', 'rules', RULES)).toMatch(/6 rules found/);
    const recorded = queries.map(([, query], n) => ({
      record: `query:${n}`,
      expr: query.replaceAll('$account', '.*'),
    }));
    const path = file('queries.json', { groups: [{ name: 'dashboard', rules: recorded }] });
    expect(promtool('check', 'rules', path)).toMatch(`${queries.length} rules found`);
  });

  it('each of the six alerts fires when it should, and not before; series are those of the exporter', async () => {
    const series = (await exportedSeries()).filter((each) => !/_(bucket|sum|count)\{/.test(each));
    const steady = `+0x${DAY_STEPS}`;
    /** Values of the series that match, over the steps; all others stay 0. */
    type Course = Record<string, string>;
    const perMinute = (units: number) => `0+${units * 5}x${DAY_STEPS}`;
    /** 0 until the last steps. */
    const late = (units: number, steps: number) => `0x${STEPS - steps} ${units}+0x${steps - 1}`;
    const refusals = 'rt_sms_policy_refusals_total.*"perRecipient"';
    const lost = 'rt_sms_callbacks_lost_total';
    const day = 'rt_sms_policy_segments_per_day';
    const [accepted, unknown] = ['rt_sms_sends_total.*"accepted"', 'rt_sms_sends_total.*"unknown".*"RT_SMS_TIMEOUT"'];
    const [polled, called] = [
      'rt_sms_statuses_total.*"delivered".*"poll"',
      'rt_sms_statuses_total.*"delivered".*"callback"',
    ];
    const segmentsOf = (outcome: string) => `rt_sms_segments_total.*"${outcome}"`;
    const [sent, doubtful, unsent] = [segmentsOf('accepted'), segmentsOf('unknown'), segmentsOf('not_sent')];
    const cases: [alert: string, fires: boolean, course: Course][] = [
      ['RtSmsPolicyRefusals', true, { [refusals]: perMinute(2) }],
      ['RtSmsPolicyRefusals', false, { [refusals]: perMinute(1) }],
      ['RtSmsUnknownOutcomes', true, { [accepted]: perMinute(90), [unknown]: perMinute(1) }],
      ['RtSmsUnknownOutcomes', false, { [accepted]: perMinute(110), [unknown]: perMinute(1) }],
      ['RtSmsUnresolved', true, { rt_sms_unresolved_total: late(1, 6) }],
      ['RtSmsUnresolved', false, { rt_sms_unresolved_total: `5${steady}` }],
      ['RtSmsCallbacksLost', true, { [lost]: perMinute(2), [polled]: perMinute(2), [called]: perMinute(1) }],
      ['RtSmsCallbacksLost', false, { [lost]: perMinute(1), [polled]: perMinute(1), [called]: perMinute(2) }],
      ['RtSmsAuthOpen', true, { rt_sms_auth_open: late(1, 2) }],
      ['RtSmsAuthOpen', false, { rt_sms_auth_open: late(1, 1) }],
      // 1,440 segments a day.
      ['RtSmsBudget80Percent', true, { [day]: `1700${steady}`, [sent]: perMinute(0.9), [doubtful]: perMinute(0.1) }],
      ['RtSmsBudget80Percent', false, { [day]: `1900${steady}`, [sent]: perMinute(1), [unsent]: perMinute(5) }],
    ];
    expect([...new Set(cases.map(([alert]) => alert))]).toEqual(rules.map(({ alert }) => alert));
    const tests = cases.map(([alert, fires, course]) => {
      for (const pattern of Object.keys(course))
        expect(series.filter((each) => new RegExp(`^${pattern}`).test(each))).not.toHaveLength(0);
      const valuesOf = (each: string) =>
        Object.entries(course).find(([pattern]) => new RegExp(`^${pattern}`).test(each))?.[1] ?? `0${steady}`;
      return {
        name: `${alert} ${fires ? 'fires' : 'does not fire'}`,
        interval: '5m',
        input_series: series.map((each) => ({ series: each, values: valuesOf(each) })),
        promql_expr_test: [
          {
            expr: `count by (alertname, rt_sms_account) (ALERTS{alertstate="firing"})`,
            eval_time: `${(alert === 'RtSmsBudget80Percent' ? DAY_STEPS : STEPS) * 5}m`,
            exp_samples: fires ? [{ labels: `{alertname="${alert}", rt_sms_account="default"}`, value: 1 }] : [],
          },
        ],
      };
    });
    const played = { rule_files: [RULES], evaluation_interval: '5m', tests };
    expect(promtool('test', 'rules', file('tests.json', played))).toMatch('SUCCESS');
    // Negative control: with the expectation turned round, promtool fails.
    const turned = { ...played, tests: [{ ...tests[0]!, promql_expr_test: tests[1]!.promql_expr_test }] };
    expect(() => promtool('test', 'rules', file('turned.json', turned))).toThrow();
  });
});
