"""The one table of warnings: each code, and what it means in one sentence.

A code is stable: people write it into their files (`# authproxy: ignore CODE — reason`) and their CI filters by it.
Every code has its place in docs/lint.md, with an example.
"""

LINTS: dict[str, str] = {
    # routes
    "open-route": "Anyone may use this route.",
    "open-inside-protected": "Anyone may use this route, which takes requests from one that asks who is calling.",
    "open-way-around": "What this route protects is reached without it through a route that is open to anyone.",
    "shadow-mode": "This is in shadow mode: it refuses nobody.",
    "unreachable-route": "More specific patterns take all requests of this one.",
    # entries
    "unreachable-entry": "This entry decides nothing: another one always does.",
    "impossible-entry": "This entry holds for nobody.",
    "allow-everyone": "This `allow` holds for every identity.",
    "deny-everyone": "This `deny` refuses everyone.",
    "ambiguous-subjects": "Names of subjects from several authenticators: one name may be two people.",
    "glob-in-value": "Values are compared as written: `*` stands for nothing here.",
    "unknown-group": "Nobody is in any of these groups.",
    # expressions
    "loose-match": "This comparison of texts holds for more than it seems to.",
    "unanchored-regex": "This regular expression may match anywhere in the text.",
    "regex-dot": "An unescaped dot in a regular expression stands for any character.",
    "never-equal": "This comparison can never be true.",
    "header-never-seen": "Policies never see a header field of this name.",
    "cel-cost": "These expressions can take long for one request.",
    "cel-needless": "This expression says what a condition says for less.",
    # the configuration
    "unused-upstream": "No route uses this upstream.",
    "unused-authenticator": "No route uses this authenticator.",
    "unused-group": "No policy names this group of the users file, and no backend is told of it.",
    "key-file-mode": "Others can read this file of keys or users.",
    "writable-file": "Everybody can change this file.",
    "certificate-never-asked": "Client certificates are taken, and no listener asks for one.",
    "authorities-differ": "Listeners ask for certificates of different authorities.",
    # comments
    "unused-ignore": "This comment ignores a warning that is not there.",
    "ignore-without-reason": "This comment ignores a warning and does not say why.",
}
