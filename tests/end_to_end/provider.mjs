// An OpenID provider that nobody here wrote (npm: oidc-provider) on loopback, for tests. Told by lines on stdin:
// `publish` a further key (not used yet), `use` the newest one, `withdraw` all others, `replace` all keys by a new one at
// once. Each is answered by a line of JSON on stdout. It ends with its stdin.
//
// usage: node provider.mjs MODULES PORT
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [, , modules, port] = process.argv;
const load = async (path) => import(pathToFileURL(`${modules}/${path}`));
const { Provider } = await load('oidc-provider/lib/index.js');
const { generateKeyPair, exportJWK } = await load('jose/dist/webapi/index.js');

const issuer = `http://127.0.0.1:${port}`;
const audience = 'urn:test:api';
let asked = 0;
let keys = [await makeKey()]; // the first signs
let serve = provide();

async function makeKey() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

function provide() {
  const resource = {
    scope: 'orders', audience, accessTokenTTL: 3600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256', kid: keys[0].kid } },
  };
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'robot', client_secret: 'robot-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true, defaultResource: () => audience, useGrantedResource: () => true, getResourceServerInfo: () => resource,
      },
    },
    ttl: { ClientCredentials: 3600 },
  });
  return provider.callback();
}

const orders = {
  publish: async () => { keys = [...keys, await makeKey()]; },
  use: async () => { keys = [keys.at(-1), ...keys.slice(0, -1)]; },
  withdraw: async () => { keys = keys.slice(0, 1); },
  replace: async () => { keys = [await makeKey()]; },
};

const server = createServer((request, response) => {
  if (request.url.startsWith('/jwks')) asked += 1;
  serve(request, response);
});
const say = () => console.log(JSON.stringify({ keys: keys.map((key) => key.kid), asked }));
server.listen(Number(port), '127.0.0.1', say);
const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  if (orders[line]) {
    await orders[line]();
    serve = provide();
  }
  say();
}
process.exit(0);
