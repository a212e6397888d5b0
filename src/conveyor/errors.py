"""The one error tree.

    ConveyorError            code               HTTP  retryable
    ├── ConfigInvalid        config.invalid      422  no
    ├── InputRejected        input.rejected      422  no    (a file, row or parameter of the user's)
    ├── TooLarge             input.too_large     413  no    (more at once than is taken)
    ├── Overloaded           overloaded          429  yes   (more than can be worked off; later)
    ├── NotFound             not_found           404  no
    ├── Conflict             conflict            409  no    (the state does not allow it)
    ├── Refused              refused             409  no    (a rule of safety says no)
    ├── Unauthorized         unauthorized        401  no
    ├── Forbidden            forbidden           403  no
    ├── CorruptObject        store.corrupt       500  no    (bytes do not match their digest)
    ├── NoSpace              store.no_space      507  yes
    ├── LeaseLost            lease.lost          409  yes   (another process took the work over)
    ├── StepFailed           step.failed         422  no    (the user's command or function failed)
    └── Unavailable          unavailable         503  yes   (a part is not running or does not answer)

Every error says what happened (`message`) and what to do next (`hint`).
"""

from __future__ import annotations

from typing import ClassVar


class ConveyorError(Exception):
    """Base of all errors that Conveyor raises on purpose."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    retry_after: ClassVar[int] = 0
    """Seconds after which it is worth trying again; 0: nobody can say."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, object]:
        """The wire form, the same on every surface: `{"error": {"code", "message", "hint", "retryable"}}`."""
        body = {"code": self.code, "message": self.message, "hint": self.hint, "retryable": self.retryable}
        return {"error": body}


class ConfigInvalid(ConveyorError):
    """`conveyor.toml` does not say what it must; `problems` lists all that is wrong, not the first only."""

    code, status = "config.invalid", 422

    def __init__(self, problems: tuple[str, ...], *, path: str = "conveyor.toml") -> None:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__(f"{path} has {count}:\n{lines}", hint="Mend the lines named above.")
        self.problems = problems


class InputRejected(ConveyorError):
    code, status = "input.rejected", 422


class TooLarge(ConveyorError):
    code, status = "input.too_large", 413


class Overloaded(ConveyorError):
    code, status, retryable = "overloaded", 429, True
    retry_after = 2


class NotFound(ConveyorError):
    code, status = "not_found", 404


class Conflict(ConveyorError):
    code, status = "conflict", 409


class Refused(ConveyorError):
    code, status = "refused", 409


class Unauthorized(ConveyorError):
    code, status = "unauthorized", 401


class Forbidden(ConveyorError):
    code, status = "forbidden", 403


class CorruptObject(ConveyorError):
    code, status = "store.corrupt", 500


class NoSpace(ConveyorError):
    code, status, retryable = "store.no_space", 507, True
    retry_after = 30


class LeaseLost(ConveyorError):
    code, status, retryable = "lease.lost", 409, True


class StepFailed(ConveyorError):
    code, status = "step.failed", 422


class Unavailable(ConveyorError):
    code, status, retryable = "unavailable", 503, True
