"""Asking the Materials Project: one question at a time, tried again where that helps, answers kept on disk."""

from __future__ import annotations

import gzip
import json
import os
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipdb.errors import IngestError, UsageError
from mlipdb.schemas.keys import make_key

if TYPE_CHECKING:
    from mp_api.client import MPRester

__all__ = ["ENDPOINT", "KEY_VARIABLE", "MaterialsProject", "RemoteError"]

Raw = dict[str, Any]
ENDPOINT = "https://api.materialsproject.org/"
KEY_VARIABLE = "MP_API_KEY"
ENDPOINT_VARIABLE = "MP_API_ENDPOINT"
#: Length of a key; mp-api refuses any other.
KEY_LENGTH = 32
#: Times a question is asked, and seconds between, doubled each time.
ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 5, 1.0, 30.0
#: Seconds an answer may take.
TIMEOUT = 30
#: Answers that may be others a moment later.
PASSING = frozenset({429, 500, 502, 503, 504})
WORDS = {
    401: f"it refused the key (401); set {KEY_VARIABLE} to the key shown on your dashboard of the Materials Project",
    403: f"it refused the key, or its owner may not see this (403); check {KEY_VARIABLE} and the terms of that data",
    404: "it has nothing at that place (404); a newer mp-api may be needed",
    422: "it does not accept that id (422); write it as the Materials Project does, such as mp-149",
    429: "it asks for fewer questions (429); wait some minutes and run the command again",
}


class RemoteError(IngestError):
    """The Materials Project gave no usable answer."""

    default_reason = "materials_project"


class MaterialsProject:
    """A connection to the Materials Project.

    Parameters
    ----------
    cache
        Folder for its answers.
    refresh
        Ask again even where there is an answer of this database version.
    endpoint
        Address of the service; the variable MP_API_ENDPOINT or the real one by default.
    wait
        Seconds before a question is asked a second time; doubled each time.

    Raises
    ------
    UsageError
        If mp-api is not installed, or there is no key.
    RemoteError
        If the service does not answer.
    """

    def __init__(
        self, cache: Path, *, refresh: bool = False, endpoint: str | None = None, wait: float = FIRST_WAIT
    ) -> None:
        self._key = _key()
        self._endpoint = (endpoint or os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT).rstrip("/") + "/"
        self._refresh = refresh
        self._wait = wait
        self._status: int | None = None
        self._session = self._new_session()
        self.version = self._heartbeat()
        self._cache = cache / "materials_project" / re.sub(r"[^\w.-]", "_", self.version or "unknown")
        self._rester: MPRester | None = None

    @property
    def name(self) -> str:
        """What `source.path` of its tasks says."""
        return self._endpoint

    def ask(self, request: Raw, question: Callable[[Any], Any]) -> Any:
        """The answer to a question, from the cache where it is there.

        Parameters
        ----------
        request
            What tells this question from others; it says what is asked in messages under ``what``.
        question
            Takes an MPRester and asks.  Its answer becomes plain JSON; an empty one is not kept.

        Raises
        ------
        RemoteError
            If there is no answer after some attempts; its sentence says why.
        """
        file = self._cache / f"{make_key('answer', {**request, 'endpoint': self._endpoint})}.json.gz"
        if not self._refresh:
            with suppress(OSError, EOFError, ValueError):
                return json.loads(gzip.decompress(file.read_bytes()))
        answer = _plain(self._tried(lambda: question(self._open()), str(request["what"])))
        if answer:
            self._keep(file, answer)
        return answer

    def _keep(self, file: Path, answer: Any) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(gzip.compress(json.dumps(answer).encode(), mtime=0))
        part.replace(file)

    def _open(self) -> Any:
        if self._rester is None:
            MPRester = _rester_class()  # noqa: N806 - the name of a class
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions; they are told by answers that cannot be read
                self._rester = MPRester(
                    api_key=self._key,
                    endpoint=self._endpoint,
                    session=self._session,
                    use_document_model=False,
                    mute_progress_bars=True,
                )
        return self._rester

    def _new_session(self) -> Any:
        """A session that tries nothing again by itself, and remembers how the service answered last."""
        _rester_class()  # says what is missing before anything is asked
        import requests
        from requests.adapters import HTTPAdapter

        session = requests.Session()
        session.headers["x-api-key"] = self._key
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=0))

        def note(response: Any, **_: Any) -> None:
            self._status = response.status_code

        session.hooks["response"].append(note)
        return session

    def _heartbeat(self) -> str:
        def question() -> Any:
            response = self._session.get(self._endpoint + "heartbeat", timeout=TIMEOUT)
            response.raise_for_status()
            return response.json()

        answer = self._tried(question, "the version of its database")
        return str(answer.get("db_version") or "") if isinstance(answer, dict) else ""

    def _tried(self, question: Callable[[], Any], what: str) -> Any:
        """Ask, and ask again after a pause where the failure may pass."""
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

        retrying = Retrying(
            retry=retry_if_exception_type(_PassingError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=self._wait, max=min(LONGEST_WAIT, self._wait * 2**ATTEMPTS)),
            reraise=True,
        )
        return retrying(self._asked, question, what)

    def _asked(self, question: Callable[[], Any], what: str) -> Any:
        import requests
        from deltalake.exceptions import DeltaError
        from mp_api.client.core import MPRestError

        self._status = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return question()
        except (MPRestError, requests.RequestException, DeltaError, OSError) as error:
            raise self._explained(error, what) from None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:  # an answer of no known shape
            raise self._explained(error, what) from None

    def _explained(self, error: Exception, what: str) -> RemoteError:
        """The error as one sentence without the key; of a class of its own where it may pass."""
        status, text = self._status, " ".join(str(error).split()).replace(self._key, "***")
        start = f"the Materials Project was asked for {what}: "
        if status in PASSING or (status is not None and status >= 500):
            words = WORDS.get(status, f"it does not work at the moment ({status}); try again later")
            return _PassingError(start + words, reason="materials_project_busy")
        if status in WORDS:
            return RemoteError(start + WORDS[status], reason="materials_project_refused")
        if status is None and isinstance(error, ValueError) and not isinstance(error, OSError):
            return RemoteError(f"{start}{text:.200}", reason="materials_project_refused")
        if status is None or re.search("timed? ?out|connection", text, re.IGNORECASE):
            late = re.search("timed? ?out", text, re.IGNORECASE) is not None
            words = f"no answer within {TIMEOUT} s" if late else f"no connection ({text:.200})"
            return _PassingError(f"{start}{words}; is the network there?", reason="materials_project_unreachable")
        return RemoteError(f"{start}its answer cannot be used ({type(error).__name__}: {text:.200})")


class _PassingError(RemoteError):
    """A failure that may pass."""


def _key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise UsageError(
            f"the Materials Project needs a key; set {KEY_VARIABLE} to the one on your dashboard at "
            "https://next-gen.materialsproject.org/api"
        )
    if len(key) != KEY_LENGTH:
        raise UsageError(f"{KEY_VARIABLE} has {len(key)} characters; a key of the Materials Project has {KEY_LENGTH}")
    return key


def _rester_class() -> Any:
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise UsageError(
            f"the Materials Project needs the package mp-api ({error}); install it with `pip install 'mlipdb[mp]'`"
        ) from None
    return MPRester


def _plain(answer: Any) -> Any:
    """An answer as JSON holds it: no models, no enums, ids as text."""
    if isinstance(answer, dict):
        return {str(key): _plain(value) for key, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [_plain(item) for item in answer]
    if hasattr(answer, "model_dump"):
        return _plain(answer.model_dump(mode="json"))
    if hasattr(answer, "as_dict"):
        return _plain(answer.as_dict())
    if hasattr(answer, "tolist"):
        return _plain(answer.tolist())
    return answer if answer is None or isinstance(answer, (str, bool, int, float)) else str(answer)
