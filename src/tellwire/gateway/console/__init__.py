"""The console: a page for operators at `/console`, served by the gateway itself.

POST /console/session   an API key with the scope `admin` ─▶ a session, in a cookie that scripts cannot read
/console/api/v1/…       the HTTP API, for the session in place of the key; a write needs the session's CSRF token
/console                the page: one file of HTML, one of CSS, one of JavaScript, without a build
"""
