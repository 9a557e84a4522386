// Envelope encryption with Strongroom, Node's standard library only. Reads the STRONGROOM_ variables that
// `strongroom dev env --as service-1` prints.
import { readFileSync } from 'node:fs';
import { request, Agent } from 'node:https';
import { setTimeout as wait } from 'node:timers/promises';

const { STRONGROOM_SERVER, STRONGROOM_CA, STRONGROOM_CERT, STRONGROOM_KEY } = process.env;
const agent = new Agent({
  ca: readFileSync(STRONGROOM_CA),
  cert: readFileSync(STRONGROOM_CERT),
  key: readFileSync(STRONGROOM_KEY),
  keepAlive: true,
});

function post(path, body) {
  return new Promise((resolve, reject) => {
    const call = request(STRONGROOM_SERVER + path, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (response) => {
      let text = '';
      response.on('data', (part) => { text += part; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, answer: JSON.parse(text) }));
    });
    call.on('error', reject);
    call.end(JSON.stringify(body));
  });
}

// A 503 means that nothing was handed out: wait as told and ask again.
async function strongroom(keyring, operation, body) {
  for (let i = 0; ; ++i) {
    const { status, headers, answer } = await post(`/v1/keyrings/${keyring}/${operation}`, body);
    if (status === 200) return answer;
    if (status !== 503 || i === 9) throw new Error(`${answer.type}: ${answer.detail}`);
    await wait(1000 * Number(headers['retry-after'] ?? 1));
  }
}

const aad = Buffer.from('document 17').toString('base64');
const key = await strongroom('install', 'datakey', { bytes: 32, plaintext: true, aad });
const opened = await strongroom('install', 'unwrap', { wrapped: key.wrapped, aad });
if (opened.plaintext !== key.plaintext) throw new Error('another DEK came back');
await strongroom('install', 'unwrap', { wrapped: key.wrapped }).catch((refused) => console.log('without its AAD:', refused.message));
console.log('kept:', key.wrapped.slice(0, 24) + '...', 'under version', key.kek_version);
agent.destroy();
