export const STYLE = String.raw`:root {
  color-scheme: light dark;
  --bg: #f3f1f8;
  --panel: #ffffff;
  --sunk: #f7f5fb;
  --text: #1d1829;
  --muted: #615a73;
  --line: #e2ddec;
  --accent: #6a1fe0;
  --accent-ink: #ffffff;
  --soft: #efe7ff;
  --shadow: 0 1px 2px #1d182914, 0 8px 28px #1d182912;
  --good: #0a6b3a;
  --bad: #a8132c;
  --warn: #7c4a00;
  --wallpaper: linear-gradient(165deg, #e9ddff, #fde7df 60%, #e3f0ff);
}
.tone-all { --fg: var(--text); --tint: var(--soft); }
.tone-accepted { --fg: #4d4662; --tint: #ece8f4; }
.tone-delivered { --fg: #0a6537; --tint: #d9f4e4; }
.tone-awaiting_report { --fg: #744600; --tint: #ffeec9; }
.tone-failed { --fg: #9c1128; --tint: #ffe1e4; }
.tone-rejected { --fg: #921067; --tint: #fde0f2; }
.tone-insufficient_balance { --fg: #853800; --tint: #ffe5d1; }
.tone-other { --fg: #0a5574; --tint: #d7effa; }

@media (prefers-color-scheme: dark) {
  :root {
    --bg: #110f17;
    --panel: #1a1723;
    --sunk: #14121b;
    --text: #efecf7;
    --muted: #a9a1bd;
    --line: #302b3e;
    --accent: #b99aff;
    --accent-ink: #1b1033;
    --soft: #2d2347;
    --shadow: 0 1px 2px #0006, 0 10px 30px #0005;
    --good: #74dca0;
    --bad: #ff98a4;
    --warn: #ffcf78;
    --wallpaper: linear-gradient(165deg, #2a1d4d, #3a2028 60%, #16283d);
  }
  .tone-accepted { --fg: #c6bfd8; --tint: #2c273a; }
  .tone-delivered { --fg: #7fe0a7; --tint: #143521; }
  .tone-awaiting_report { --fg: #ffd07a; --tint: #3a2b0c; }
  .tone-failed { --fg: #ff9aa5; --tint: #441a22; }
  .tone-rejected { --fg: #ff9ed9; --tint: #43193a; }
  .tone-insufficient_balance { --fg: #ffb682; --tint: #402511; }
  .tone-other { --fg: #8fd6f6; --tint: #113140; }
}

* { box-sizing: border-box; }
[hidden] { display: none !important; }
html, body { height: 100%; margin: 0; }
body {
  display: flex;
  flex-direction: column;
  background: var(--bg);
  color: var(--text);
  font: 14px/1.45 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif;
}
h1, h2, h3, p, dl, dd, ol, ul { margin: 0; padding: 0; }
h2 { font-size: 13px; font-weight: 650; }
h3 { font-size: 12px; font-weight: 650; color: var(--muted); }
code, pre { font: 12px/1.5 ui-monospace, 'Cascadia Code', 'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }

button, input, select { font: inherit; color: inherit; }
button {
  min-height: 32px;
  padding: 4px 12px;
  border: 1px solid var(--line);
  border-radius: 9px;
  background: var(--panel);
  cursor: pointer;
  transition: background 0.12s, border-color 0.12s;
}
button:hover { border-color: var(--accent); }
button:active { transform: translateY(1px); }
button.strong { background: var(--accent); border-color: var(--accent); color: var(--accent-ink); font-weight: 600; }
button.quiet { background: none; border-color: transparent; color: var(--muted); }
button.quiet:hover { background: var(--soft); color: var(--text); }
button.quiet[aria-pressed='true'] { background: var(--soft); color: var(--text); }
button.small { min-height: 24px; padding: 1px 8px; font-size: 12px; }
input:not([type='checkbox'], [type='range']), select {
  min-height: 32px;
  padding: 4px 10px;
  border: 1px solid var(--line);
  border-radius: 9px;
  background: var(--sunk);
}
input::placeholder { color: var(--muted); opacity: 1; }
input[type='checkbox'], input[type='range'] { accent-color: var(--accent); }

.bar { display: flex; align-items: center; gap: 14px; padding: 10px 18px; background: var(--panel); border-bottom: 1px solid var(--line); }
.bar h1 { display: flex; align-items: center; gap: 9px; font-size: 17px; font-weight: 700; letter-spacing: -0.01em; white-space: nowrap; }
.bar svg { width: 26px; fill: var(--accent); }
.bar circle { fill: var(--panel); }
.bar input { flex: 1; min-width: 0; max-width: 520px; margin: 0 auto; border-radius: 99px; padding: 5px 16px; }
.tools { display: flex; align-items: center; gap: 6px; }
.count { margin-left: 7px; padding: 0 6px; border-radius: 9px; background: var(--accent-ink); color: var(--accent); font-size: 12px; }
.live { display: inline-flex; align-items: center; gap: 6px; color: var(--muted); font-size: 12px; white-space: nowrap; }
.live::before { content: ''; width: 8px; height: 8px; border-radius: 50%; background: var(--warn); }
.live.on::before { background: #1fb866; animation: pulse 2.4s infinite; }
@keyframes pulse { 50% { box-shadow: 0 0 0 5px #1fb86633; } }

main { flex: 1; min-height: 0; display: grid; grid-template-columns: minmax(0, 1.62fr) minmax(500px, 1fr); gap: 12px; padding: 14px 14px 16px 18px; }
.left { display: flex; flex-direction: column; min-height: 0; background: var(--panel); border: 1px solid var(--line); border-radius: 16px; box-shadow: var(--shadow); overflow: hidden; }
.tabs { display: flex; gap: 2px; padding: 8px 10px 0; border-bottom: 1px solid var(--line); }
.tabs button { border: 0; border-radius: 9px 9px 0 0; background: none; color: var(--muted); font-weight: 600; padding: 6px 14px 9px; border-bottom: 3px solid transparent; }
.tabs button[aria-pressed='true'] { color: var(--text); border-bottom-color: var(--accent); }
.tabs b { font-weight: 500; color: var(--muted); font-variant-numeric: tabular-nums; }
.chips { display: flex; flex-wrap: wrap; gap: 6px; padding: 10px 12px 6px; }
.chips button { min-height: 26px; padding: 1px 10px; border-radius: 99px; border-color: transparent; background: var(--tint); color: var(--fg); font-size: 12px; }
.chips button:hover, .chips button[aria-pressed='true'] { border-color: var(--fg); }
.chips b { font-variant-numeric: tabular-nums; }

.stage { position: relative; flex: 1; min-height: 0; }
.list { position: absolute; inset: 0; overflow: auto; overflow-anchor: none; outline-offset: -3px; }
.spacer { position: relative; contain: strict; min-height: 100%; }
.row, .columns { display: grid; align-items: center; gap: 11px; padding: 0 16px; }
.row { position: absolute; inset: 0 0 auto; height: 42px; cursor: pointer; border-bottom: 1px solid var(--line); white-space: nowrap; contain: strict; }
.row.message, .columns { grid-template-columns: 66px 130px minmax(50px, 76px) minmax(60px, 1fr) 34px minmax(0, 122px) 90px; }
.row.request { grid-template-columns: 66px 48px minmax(80px, 1fr) 40px minmax(80px, 1.2fr); }
.row > span { overflow: hidden; text-overflow: ellipsis; }
.row:hover { background: var(--sunk); }
.row[aria-selected='true'] { background: var(--soft); box-shadow: inset 3px 0 var(--accent); }
.columns { padding: 6px 16px; border-bottom: 1px solid var(--line); color: var(--muted); font-size: 12px; }
.columns span { overflow: hidden; text-overflow: ellipsis; }
.row .at, .row .msisdn, .row .segments, time { font-variant-numeric: tabular-nums; }
.row .at, .row .segments, .row .path, time { color: var(--muted); }
.row .shortcode { font-weight: 600; }
.row .segments { text-align: center; }
.status { display: inline-block; width: fit-content; max-width: 100%; padding: 1px 9px; border-radius: 99px; background: var(--tint); color: var(--fg); font-size: 12px; overflow: hidden; text-overflow: ellipsis; vertical-align: middle; }
i { font-style: normal; font-size: 12px; font-variant-numeric: tabular-nums; }
.callbacks i + i { margin-left: 8px; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.warn { color: var(--warn); }
.wait { color: var(--muted); }
.fresh { position: absolute; top: 10px; left: 50%; translate: -50% 0; border-radius: 99px; background: var(--accent); color: var(--accent-ink); border-color: var(--accent); font-weight: 600; box-shadow: var(--shadow); }
.empty { max-width: 680px; margin: 9vh auto 0; padding: 0 24px; text-align: center; color: var(--muted); }
.empty h2 { font-size: 20px; color: var(--text); margin-bottom: 6px; }
.empty pre { text-align: left; margin: 18px auto; white-space: pre; width: fit-content; max-width: 100%; color: var(--text); }
.keys { padding: 7px 16px; border-top: 1px solid var(--line); color: var(--muted); font-size: 12px; }

.right { min-height: 0; overflow: auto; display: flex; flex-direction: column; gap: 14px; margin: -14px 0 -16px; padding: 14px 4px 24px; outline-offset: -2px; }
.right > * { flex: none; }
.hint { margin: auto; opacity: 0.75; }
.back { display: none; align-self: start; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: 16px; padding: 14px 16px; box-shadow: var(--shadow); }
.card h2 { margin-bottom: 10px; }
.pair { display: grid; grid-template-columns: 236px minmax(0, 1fr); gap: 14px; align-items: start; }

.phone { width: 236px; height: 490px; padding: 9px; border-radius: 38px; background: #17141f; box-shadow: 0 0 0 2px #3a3548, 0 18px 40px #0004; }
.screen { position: relative; height: 100%; border-radius: 30px; overflow: hidden; display: flex; flex-direction: column; background: var(--wallpaper); }
.screen::before { content: ''; position: absolute; top: 8px; left: 50%; translate: -50% 0; width: 74px; height: 18px; border-radius: 12px; background: #17141f; z-index: 1; }
.who { display: grid; justify-items: center; gap: 1px; padding: 34px 10px 9px; background: color-mix(in srgb, var(--panel) 82%, transparent); border-bottom: 1px solid #8883; }
.who b { max-width: 100%; overflow: hidden; text-overflow: ellipsis; }
.who small { color: var(--muted); font-variant-numeric: tabular-nums; }
.face { display: grid; place-items: center; width: 42px; height: 42px; margin-bottom: 3px; border-radius: 50%; background: linear-gradient(140deg, #7b2ff2, #c2185b); color: #fff; font-size: 19px; font-weight: 700; }
.thread { flex: 1; min-height: 0; overflow: hidden auto; scrollbar-width: none; padding: 12px 10px 14px; display: flex; flex-direction: column; gap: 7px; }
.thread > :first-child { margin-top: auto; }
.bubble { align-self: start; flex: none; max-width: 88%; padding: 7px 11px 5px; border-radius: 17px 17px 17px 5px; background: color-mix(in srgb, var(--panel) 78%, transparent); }
.bubble p { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13.5px; }
.bubble.current { background: var(--panel); box-shadow: 0 2px 10px #0002; animation: pop 0.25s ease-out; }
.bubble small { display: block; text-align: right; font-size: 11px; color: var(--fg); font-variant-numeric: tabular-nums; }
@keyframes pop { from { transform: scale(0.94); opacity: 0; } }

.buttons { display: flex; flex-wrap: wrap; align-items: center; gap: 7px; }
.buttons + .buttons { margin-top: 8px; }
.buttons.apart { margin-top: 12px; padding-top: 11px; border-top: 1px solid var(--line); justify-content: space-between; }
.buttons input[type='text'] { min-width: 0; width: 150px; }
#push-err { width: 64px; }
.actions form input[type='text'] { flex: 1; width: 90px; }
.buttons label { color: var(--muted); }
.push { background: var(--tint); color: var(--fg); border-color: transparent; font-weight: 600; }
.push:hover { border-color: var(--fg); }
label.check { display: flex; align-items: center; gap: 7px; min-height: 28px; color: var(--text); cursor: pointer; }
.warning { margin-top: 10px; padding: 7px 11px; border-radius: 10px; background: var(--soft); font-size: 13px; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 5px 20px; }
dl div { display: grid; grid-template-columns: 112px minmax(0, 1fr); gap: 10px; }
dt { color: var(--muted); }
dd { overflow-wrap: anywhere; }
.calls { list-style: none; display: grid; gap: 8px; }
.calls li { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 9px; }
.calls li + li { padding-top: 8px; border-top: 1px solid var(--line); }
.calls .url { flex: 1 1 100%; overflow-wrap: anywhere; color: var(--muted); }
.calls small, .none { color: var(--muted); }
details + details { margin-top: 6px; }
summary { cursor: pointer; padding: 4px 0; font-variant-numeric: tabular-nums; }
details h3 { margin: 8px 0 4px; }
pre { max-height: 320px; overflow: auto; margin: 0; padding: 10px 12px; border: 1px solid var(--line); border-radius: 10px; background: var(--sunk); white-space: pre-wrap; overflow-wrap: anywhere; }
.curl + button { margin-top: 8px; }

dialog { width: min(560px, 100vw); max-width: none; height: 100dvh; max-height: none; margin: 0 0 0 auto; padding: 0; border: 0; background: var(--panel); color: var(--text); box-shadow: -10px 0 50px #0005; }
dialog[open] { animation: slide 0.18s ease-out; }
@keyframes slide { from { transform: translateX(40px); opacity: 0; } }
dialog::backdrop { background: #0b081566; }
.sheet { display: grid; gap: 20px; padding: 16px 22px 28px; }
.sheet header { display: flex; justify-content: space-between; align-items: center; }
.sheet h2 { font-size: 18px; }
.sheet h3 { margin-bottom: 8px; text-transform: none; font-size: 13px; color: var(--text); }
.fields { display: grid; grid-template-columns: 1fr 1.2fr 76px; gap: 9px; align-items: end; }
.fields label:not(.check) { display: grid; gap: 3px; min-width: 0; }
.fields label span { color: var(--muted); font-size: 12px; }
.fields select, .fields input { width: 100%; min-width: 0; }
.fields .end { grid-column: 1 / -1; display: flex; flex-wrap: wrap; justify-content: space-between; gap: 8px; }
.fields .check input { width: auto; }
.fields + .buttons { margin-top: 12px; }
.waiting { list-style: none; flex: 1; display: grid; gap: 4px; }
.slider { display: grid; grid-template-columns: 160px 1fr 96px; gap: 12px; align-items: center; min-height: 34px; }
.slider output { text-align: right; font-variant-numeric: tabular-nums; color: var(--muted); }
.slider input { width: 100%; min-width: 0; }
.sheet .buttons input { flex: 1; }
table { border-collapse: collapse; width: 100%; }
td { padding: 4px 10px 4px 0; border-top: 1px solid var(--line); vertical-align: top; }

.toast { position: fixed; left: 50%; bottom: 26px; translate: -50% 20px; max-width: min(90vw, 600px); padding: 9px 18px; border-radius: 12px; background: var(--text); color: var(--panel); opacity: 0; pointer-events: none; transition: opacity 0.15s, translate 0.15s; z-index: 5; }
.toast.shown { opacity: 1; translate: -50% 0; }
.toast.error { background: var(--bad); }
.unseen { position: fixed; left: -999px; }

@media (max-width: 1240px) {
  main { grid-template-columns: minmax(0, 1.62fr) minmax(320px, 1fr); }
  .pair { grid-template-columns: 1fr; }
  .phone { width: 262px; height: 500px; margin: 0 auto; }
  .row.message, .columns { grid-template-columns: 66px 130px minmax(40px, 74px) minmax(50px, 1fr) minmax(0, 118px); }
  .row.message .segments, .row.message .callbacks, .columns > :nth-child(5), .columns > :nth-child(7) { display: none; }
}

@media (max-width: 760px) {
  .bar { flex-wrap: wrap; gap: 8px 10px; padding: 9px 12px; }
  .bar input { order: 5; flex: 1 1 100%; max-width: none; }
  .tools { margin-left: auto; gap: 2px; }
  .tools button { padding: 4px 9px; }
  main { display: block; padding: 0; }
  .left { height: 100%; border: 0; border-radius: 0; }
  .right { display: none; height: 100%; margin: 0; padding: 10px 12px 20px; }
  .reading .bar input { display: none; }
  .reading .left { display: none; }
  .reading .right { display: flex; }
  .back { display: block; }
  .columns, .keys { display: none; }
  .row { height: 68px; align-content: center; row-gap: 3px; column-gap: 10px; }
  .row.message { grid-template: 'sender number time' auto 'text text status' auto / auto minmax(0, 1fr) auto; }
  .row.message .shortcode { grid-area: sender; }
  .row.message .msisdn { grid-area: number; color: var(--muted); }
  .row.message .at { grid-area: time; text-align: right; }
  .row.message .text { grid-area: text; }
  .row.message .status { grid-area: status; max-width: 150px; justify-self: end; }
  .row.request { grid-template: 'at method code' auto 'reason reason reason' auto / auto minmax(0, 1fr) auto; }
  .row.request .path { display: none; }
  .row.request .reason { grid-area: reason; }
  .chips { flex-wrap: nowrap; overflow-x: auto; scrollbar-width: none; }
  .chips button { flex: none; }
  .fields { grid-template-columns: 1fr; }
  .slider { grid-template-columns: 120px 1fr 70px; }
}

@media (prefers-reduced-motion: reduce) {
  *, *::before { animation: none !important; transition: none !important; }
}
`;
