// The proxy that people write with fastify: its own plugins for tokens (verified ones are cached), limits and forwarding.
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import proxy from '@fastify/http-proxy'
import jwt from '@fastify/jwt'
import limit from '@fastify/rate-limit'
import pino from 'pino'

const { BENCH_PORT, BENCH_BACKEND, BENCH_KEY, BENCH_TLS, BENCH_LOG } = process.env
const [certificate, key] = BENCH_TLS.split(' ')
const app = Fastify({
  loggerInstance: pino(pino.destination({ dest: BENCH_LOG, sync: false, minLength: 4096 })),
  disableRequestLogging: true,
  https: BENCH_TLS ? { cert: readFileSync(certificate), key: readFileSync(key), minVersion: 'TLSv1.3' } : null
})
app.addHook('onResponse', (request, reply, done) => {
  request.log.info({
    client: request.ip, method: request.method, host: request.host, path: request.url,
    status: reply.statusCode, duration: reply.elapsedTime
  })
  done()
})
await app.register(jwt, {
  secret: { public: readFileSync(BENCH_KEY) },
  decode: { complete: false },
  verify: { algorithms: ['RS256'], allowedIss: 'https://issuer.test', allowedAud: 'api', cache: 1000 }
})

async function authenticate (request, reply) {
  try {
    await request.jwtVerify()
  } catch {
    return reply.code(401).send()
  }
}

const allow = (group) => async (request, reply) => {
  if (!request.user.groups.includes(group)) return reply.code(403).send()
}

async function route (prefix, group, max, websocket = false) {
  await app.register(async (scope) => {
    await scope.register(limit, {
      max, timeWindow: '1 day', hook: 'preHandler', keyGenerator: (request) => request.user.sub
    })
    scope.addHook('onRequest', authenticate)
    await scope.register(proxy, {
      upstream: `http://127.0.0.1:${BENCH_BACKEND}`,
      prefix,
      rewritePrefix: prefix,
      websocket,
      undici: { connections: 128, pipelining: 1 },
      preHandler: allow(group),
      replyOptions: {
        rewriteRequestHeaders: ({ user }, { authorization, ...headers }) => ({
          ...headers, 'x-forwarded-user': user.sub, 'x-forwarded-email': user.email
        })
      }
    })
  })
}

await route('/orders', 'eng', 100000000)
await route('/files', 'eng', 100000000)
await route('/echo', 'eng', 100000000, true)
await route('/forbidden', 'nobody', 100000000)
await route('/limited', 'eng', 1)
await app.listen({ host: '127.0.0.1', port: Number(BENCH_PORT) })
