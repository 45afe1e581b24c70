"""Every text of the portal, in one catalogue: templates and pages name them and write none themselves."""

from types import SimpleNamespace

TEXTS = SimpleNamespace(
    brand="Protected by authproxy",
    login_title="Sign in",
    login_lead="to continue to {host}",
    username="Username",
    password="Password",  # noqa: S106  # a label
    sign_in="Sign in",
    or_with="or",
    continue_with="Continue with {name}",
    wrong="The username or the password is not right. Check both, then try again.",
    too_many="Too many tries. Wait a little, then try again.",
    busy="Many people are signing in at this moment. Try again in a few seconds.",
    expired_form="This page had been open for too long. Sign in again.",
    logout_title="Sign out",
    logout_lead="You are signed in as {name}.",
    sign_out="Sign out",
    stay="Stay signed in",
    logged_out_title="You are signed out",
    logged_out_lead="Your session here has ended.",
    sign_in_again="Sign in again",
    userinfo_title="Who you are here",
    subject="Name",
    email="E-mail",
    groups="Groups",
    no_groups="none",
    signed_in_by="Signed in by",
    signed_in_at="Since",
    ends_at="Until at most",
    sessions_title="Your sessions",
    this_session="this one",
    since="since {when}",
    last_used="last used {when}",
    end_others="End all others",
    utc="UTC",
)
