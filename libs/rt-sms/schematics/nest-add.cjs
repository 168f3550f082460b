// `nest add nestjs-rt-sms`. A rule is a function of a file tree, so this file does not import the tool that runs it.
// Required by package name, because the build moves this file.
const own = require('nestjs-rt-sms/package.json');

const MODULES = [
  ['ConfigModule', '@nestjs/config', 'ConfigModule.forRoot()'],
  ['EventEmitterModule', '@nestjs/event-emitter', 'EventEmitterModule.forRoot()'],
  ['RtSmsModule, rtSmsConfig', own.name, 'RtSmsModule.forRootAsync(rtSmsConfig.asProvider())'],
];
const VARIABLES = `# nestjs-rt-sms: login and password of the HTTP connection in the cabinet, and an agreed sender name
RT_SMS_LOGIN=
# in single quotes, because # starts a comment and $ a variable (with expandVariables, write \\$ instead);
# remove the quotes for \`docker run --env-file\`, which takes them as part of the value
RT_SMS_PASSWORD=''
# instead of RT_SMS_PASSWORD: a file, such as a mounted secret, which is read again when the password has changed
#RT_SMS_PASSWORD_FILE=
RT_SMS_SHORTCODE=
# 16 to 100 characters of A-Z a-z 0-9 _ -: the end of the callback's address, /rt-sms/callback/<secret>
#RT_SMS_CALLBACK_SECRETS=
#RT_SMS_CALLBACK_ALLOW_FROM=
#RT_SMS_URL=https://sms.rt.ru/api/v2/send_message
#RT_SMS_ALLOW_HTTP=false
#RT_SMS_CREDENTIALS=header
#RT_SMS_RATE_PER_SECOND=
#RT_SMS_CONNECT_TIMEOUT_MS=5000
#RT_SMS_SEND_TIMEOUT_MS=30000
#RT_SMS_STATUS_TIMEOUT_MS=10000
#RT_SMS_PROXY=
# the send policy: leading digits of the only recipients (for a test system), their countries, segments of a message and of a day
#RT_SMS_ONLY_TO=
#RT_SMS_COUNTRIES=
#RT_SMS_MAX_SEGMENTS=
#RT_SMS_SEGMENTS_PER_DAY=
# PEM files: an additional CA to trust; a client certificate, its key, and the passphrase of the key
#RT_SMS_TLS_CA=
#RT_SMS_TLS_CERT=
#RT_SMS_TLS_KEY=
#RT_SMS_TLS_PASSPHRASE=''
`;

/** Blanks comments and strings without changing offsets, so that all remaining brackets and names are code. */
const codeOf = (text) =>
  text.replace(/\/\*[^]*?\*\/|\/\/.*|(['"`])(?:\\[^]|(?!\1)[^\\])*\1/g, (part, quote = ' ') =>
    part.replace(/[^\n\r]/g, (_, at) => (at % (part.length - 1) ? ' ' : quote)),
  );

/** The text with these modules added, `undefined` if it lacks a place for them. */
function withModules(text, modules) {
  const code = codeOf(text);
  const decorator = /@Module\(\s*\{/.exec(code);
  const lastImport = [...code.matchAll(/^import\b[^'"]*(['"]).*\1.*\r?\n/gm)].at(-1);
  if (!decorator || !lastImport) return undefined;
  const inside = decorator.index + decorator[0].length;
  let flat = '';
  for (let at = inside, depth = 1; depth > 0 && at < code.length; at++) {
    if ('}])'.includes(code[at])) depth--;
    flat += depth === 1 ? code[at] : ' ';
    if ('{[('.includes(code[at])) depth++;
  }
  const list = /\bimports\s*:\s*(\[)?/.exec(flat);
  if (list && !list[1]) return undefined;

  const eol = /\r?\n/.exec(text)[0];
  const quote = lastImport[1];
  const lines = modules.map(([, , entry]) => `${eol}    ${entry},`).join('');
  const at = list ? inside + list.index + list[0].length : inside;
  const rest = text.slice(at);
  const added = list ? lines + (rest[0] === ']' ? `${eol}  ` : '') : `${eol}  imports: [${lines}${eol}  ],`;
  const top = lastImport.index + lastImport[0].length;
  const names = modules.map(([names, from]) => `import { ${names} } from ${quote}${from}${quote};${eol}`).join('');
  return text.slice(0, top) + names + text.slice(top, at) + added + rest;
}

function addModules(tree, root, logger) {
  let sources = '';
  tree.getDir(root).visit((path) => {
    if (/\.[cm]?[jt]s$/.test(path) && !path.includes('/node_modules/')) sources += codeOf(tree.readText(path));
  });
  const missing = MODULES.filter(([names]) => !sources.includes(`${names.split(',')[0]}.for`));
  if (missing.length === 0) return undefined;
  const file = `${root}/app.module.ts`;
  const text = tree.exists(file) && withModules(tree.readText(file), missing);
  if (text) return tree.overwrite(file, text);
  const entries = missing.map(([names, from, entry]) => `  ${entry}, // import { ${names} } from '${from}';`);
  return logger.warn(
    `No list of imports was found in ${file}. Add these to the imports of your root module:\n${entries.join('\n')}`,
  );
}

function addVariables(tree, file) {
  const text = tree.exists(file) ? tree.readText(file) : '';
  if (!text) tree.create(file, VARIABLES);
  else if (!text.includes('RT_SMS_LOGIN')) tree.overwrite(file, `${text.trimEnd()}\n\n${VARIABLES}`);
}

/** Adds the missing peers in the range for the application's Nest. Returns true if there were any. */
function addPeers(tree, file) {
  const text = tree.readText(file);
  const manifest = JSON.parse(text);
  const has = { ...manifest.devDependencies, ...manifest.dependencies };
  const nest = Number(/\d+/.exec(has['@nestjs/core'] ?? '12')?.[0]);
  const missing = Object.entries(own.peerDependencies).filter(
    ([name]) => !own.peerDependenciesMeta[name]?.optional && !has[name],
  );
  if (missing.length === 0) return false;
  const added = missing.map(([name, range]) => [name, range.split(' || ').at(nest === 11 ? 0 : -1)]);
  const all = [...Object.entries(manifest.dependencies ?? {}), ...added].toSorted(([a], [b]) => (a < b ? -1 : 1));
  manifest.dependencies = Object.fromEntries(all);
  tree.overwrite(file, `${JSON.stringify(manifest, undefined, /^[ \t]+/m.exec(text)?.[0])}\n`);
  return true;
}

exports.nestAdd =
  ({ sourceRoot = 'src', skipInstall = false }) =>
  (tree, { addTask, logger }) => {
    addModules(tree, sourceRoot, logger);
    addVariables(tree, '.env.example');
    const task = { name: 'node-package', options: { command: 'install' } };
    const hasNewPeers = addPeers(tree, 'package.json');
    if (hasNewPeers && !skipInstall) addTask({ toConfiguration: () => task });
    if (hasNewPeers && skipInstall) logger.info('nestjs-rt-sms: install the packages that package.json names now.');
    logger.info('nestjs-rt-sms: copy .env.example to .env and fill it in.');
  };
