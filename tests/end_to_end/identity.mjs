// An OpenID provider that nobody here wrote (npm: oidc-provider) on loopback, where people log in with its own pages.
// Its clients and lifetimes come as JSON; it says that it listens by a line on stdout, and ends with its stdin.
//
// usage: node identity.mjs MODULES PORT JSON
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [, , modules, port, settings] = process.argv;
const load = async (path) => import(pathToFileURL(`${modules}/${path}`));
const { Provider } = await load('oidc-provider/lib/index.js');
const { generateKeyPair, exportJWK } = await load('jose/dist/webapi/index.js');

const { clients, lifetime } = JSON.parse(settings);
const makeKey = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: alg, use: 'sig', alg };
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [await makeKey('RS256'), await makeKey('ES256')] },
  clients,
  claims: {
    openid: ['sub', 'sid'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'],
  },
  findAccount: async (_context, id) => ({
    accountId: id,
    claims: async () => ({
      sub: id, email: `${id}@example.test`, email_verified: true, name: id.toUpperCase(), preferred_username: id,
      groups: ['eng', 'ops'],
    }),
  }),
  features: {
    devInteractions: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  ttl: { AccessToken: lifetime, IdToken: lifetime, Grant: 3600, Session: 3600, Interaction: 600, RefreshToken: 3600 },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  // Its own way refuses to ask this machine, which is where we are.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
});
for (const event of ['server_error', 'backchannel.error', 'grant.error', 'authorization.error']) {
  provider.on(event, (...values) => console.error(event, values.map((value) => value?.error_description ?? value?.message ?? '').join(' ')));
}
for (const event of ['backchannel.success', 'grant.success', 'refresh_token.consumed']) {
  provider.on(event, () => console.error(event));
}
createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => console.log('ready'));
for await (const _ of process.stdin) ;
process.exit(0);
