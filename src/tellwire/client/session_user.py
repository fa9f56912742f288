"""The user of a session, as pure code: whose messages a client passes on.

    claim     the option `user`, or the claim of the first token that has it
    user_id   the option `user`, or `userId` of the first welcome

A claim is compared with claims, and the id of a welcome with ids: a server may take the id from elsewhere.
"""

from tellwire.client.token import claim_of


class SessionUser:
    """The user of a session, as far as it is known."""

    def __init__(self, given: str | None, claim_name: str) -> None:
        self._claim_name = claim_name
        self._claim = self._user_id = given

    @property
    def name(self) -> str | None:
        """The user's id, by the server's word; before that by the token's. None: nobody said it yet."""
        return self._user_id or self._claim

    def claim_of(self, token: str) -> str | None:
        """Return the user that a token names; None if it names none."""
        return claim_of(token, self._claim_name)

    def has_claim(self, claim: str | None) -> bool:
        """Return False for the claim of another user's token. A token without one may be anybody's."""
        if claim is not None and self._claim is None:
            self._claim = claim
        return claim is None or claim == self._claim

    def has_id(self, user_id: str | None) -> bool:
        """Return False for the id of another user's welcome."""
        if user_id is not None and self._user_id is None:
            self._user_id = user_id
        return user_id is None or user_id == self._user_id

    def become(self, claim: str | None, user_id: str | None) -> None:
        """Begin anew, as another user's session."""
        self._claim, self._user_id = claim, user_id
