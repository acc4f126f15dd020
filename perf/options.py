"""What was asked for on the command line."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Options:
    rounds: int = 5
    seconds: float = 10  # of load a run
    rate: int = 60000
    only: frozenset[str] = frozenset()  # ids; empty: all
    quick: bool = False

    def wants(self, *ids: str) -> bool:
        return not self.only or not self.only.isdisjoint(ids)

    def fewer(self) -> "Options":
        """For tables beside the aims."""
        return replace(self, rounds=max(1, self.rounds - 2))
