/** `data-t` and `data-t-<attribute>` name the words that the script puts in. */
export const HTML = String.raw`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>SMS inbox</title>
    <link
      rel="icon"
      href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cpath d='M6 3h20a4 4 0 0 1 4 4v13a4 4 0 0 1-4 4H14l-7 6v-6H6a4 4 0 0 1-4-4V7a4 4 0 0 1 4-4z' fill='%236a1fe0'/%3E%3Ccircle cx='10' cy='13.5' r='2' fill='white'/%3E%3Ccircle cx='16' cy='13.5' r='2' fill='white'/%3E%3Ccircle cx='22' cy='13.5' r='2' fill='white'/%3E%3C/svg%3E"
    />
    <link rel="stylesheet" href="/inbox/style.css" />
    <link rel="modulepreload" href="/inbox/dom.js" />
    <link rel="modulepreload" href="/inbox/words.js" />
    <link rel="modulepreload" href="/inbox/list.js" />
    <link rel="modulepreload" href="/inbox/detail.js" />
    <link rel="modulepreload" href="/inbox/conditions.js" />
    <script type="module" src="/inbox/app.js"></script>
  </head>
  <body>
    <header class="bar">
      <h1>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M6 3h20a4 4 0 0 1 4 4v13a4 4 0 0 1-4 4H14l-7 6v-6H6a4 4 0 0 1-4-4V7a4 4 0 0 1 4-4z" />
          <circle cx="10" cy="13.5" r="2" />
          <circle cx="16" cy="13.5" r="2" />
          <circle cx="22" cy="13.5" r="2" />
        </svg>
        <span data-t="title"></span>
      </h1>
      <span id="live" class="live" role="status"></span>
      <input id="search" type="search" autocomplete="off" spellcheck="false" data-t-placeholder="search" data-t-aria-label="searchLabel" />
      <div class="tools">
        <button id="mask" type="button" class="quiet" aria-pressed="true"><span data-t="mask"></span></button>
        <button id="language" type="button" class="quiet" data-t="otherLanguage" data-t-lang="otherLang"></button>
        <button id="conditions-open" type="button" class="strong">
          <span data-t="conditions"></span><b id="conditions-count" class="count" hidden></b>
        </button>
      </div>
    </header>
    <main>
      <section class="left" data-t-aria-label="overview">
        <div class="tabs" role="group" data-t-aria-label="show">
          <button id="show-messages" type="button" aria-pressed="true"><span data-t="messages"></span> <b id="count-messages">0</b></button>
          <button id="show-requests" type="button" aria-pressed="false"><span data-t="requests"></span> <b id="count-requests">0</b></button>
        </div>
        <div id="chips" class="chips" role="group" data-t-aria-label="byStatus"></div>
        <div class="columns message" aria-hidden="true" id="columns">
          <span data-t="time"></span><span data-t="number"></span><span data-t="sender"></span><span data-t="text"></span><span data-t="segmentsShort"></span><span data-t="status"></span><span data-t="callbacks"></span>
        </div>
        <div class="stage">
          <div id="messages" class="list" role="listbox" tabindex="0" data-t-aria-label="messages"></div>
          <div id="requests" class="list" role="listbox" tabindex="0" data-t-aria-label="requests" hidden></div>
          <button id="fresh" type="button" class="fresh" hidden></button>
          <div id="empty" class="empty" hidden>
            <h2 data-t="emptyTitle"></h2>
            <p data-t="emptyText"></p>
            <pre id="empty-curl" tabindex="0" data-t-aria-label="curl"></pre>
            <button id="empty-copy" type="button" class="strong" data-t="copyCurl"></button>
          </div>
          <p id="nothing" class="empty" hidden data-t="nothingFits"></p>
        </div>
        <p id="keys" class="keys" data-t="keys"></p>
      </section>
      <section id="detail" class="right" tabindex="-1" data-t-aria-label="detail">
        <div class="phone hint"><div class="screen"><div class="thread"><div class="bubble"><p data-t="choose"></p></div></div></div></div>
      </section>
    </main>
    <dialog id="conditions" aria-labelledby="conditions-title"></dialog>
    <div id="toast" class="toast" role="status" aria-live="polite"></div>
    <noscript>The inbox needs JavaScript.</noscript>
  </body>
</html>
`;
