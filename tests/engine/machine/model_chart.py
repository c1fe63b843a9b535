"""The chart of accounts as the model has it: what stands directly in what, followed along every path each time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

LEVELS_MAX: Final = 5


@dataclass
class ModelCategory:
    unit: str
    normal_balance: str
    is_open: bool = True


@dataclass
class ModelChart:
    """Categories and accounts by number; `edges` are pairs of parent and child, `members` of category and account."""

    categories: list[ModelCategory] = field(default_factory=list)
    edges: set[tuple[int, int]] = field(default_factory=set)
    members: set[tuple[int, int]] = field(default_factory=set)

    def held(self, category: int) -> set[int]:
        """Return the accounts that are in a category, directly or below it."""
        within = self._within(category)
        return {account for holder, account in self.members if holder in within}

    def _within(self, category: int) -> set[int]:
        return {category}.union(*(self._within(child) for parent, child in self.edges if parent == category))

    def _levels(self, category: int, *, upwards: bool) -> int:
        edges = [(child, parent) for parent, child in self.edges] if upwards else self.edges
        return 1 + max((self._levels(to, upwards=upwards) for from_, to in edges if from_ == category), default=0)

    def create(self, unit: str, normal_balance: str, parents: Sequence[int]) -> str:
        refusal = self._refusal(unit, parents)
        if refusal is None and any(self._levels(parent, upwards=True) == LEVELS_MAX for parent in parents):
            refusal = "category_too_deep"
        if refusal is None:
            self.edges |= {(parent, len(self.categories)) for parent in parents}
            self.categories.append(ModelCategory(unit, normal_balance))
        return refusal or "accepted"

    def open_in(self, account: int, unit: str, parents: Sequence[int]) -> str:
        """Put an account that is opened into categories."""
        refusal = self._refusal(unit, parents)
        if refusal is None:
            self.members |= {(parent, account) for parent in parents}
        return refusal or "accepted"

    def _refusal(self, unit: str, parents: Sequence[int]) -> str | None:
        for parent in parents:
            if not self.categories[parent].is_open:
                return "object_discarded"
            if self.categories[parent].unit != unit:
                return "currency_mismatch"
        return None

    def discard(self, category: int) -> None:
        self.categories[category].is_open = False
        self.edges = {edge for edge in self.edges if category not in edge}
        self.members = {member for member in self.members if member[0] != category}

    def nest(self, parent: int, child: int, *, inside: bool) -> str:
        upper, lower = self.categories[parent], self.categories[child]
        if not (upper.is_open and lower.is_open):
            return "object_discarded"
        if not inside:
            self.edges.discard((parent, child))
        elif (parent, child) not in self.edges:
            if upper.unit != lower.unit:
                return "currency_mismatch"
            if parent in self._within(child):
                return "category_cycle"
            if self._levels(parent, upwards=True) + self._levels(child, upwards=False) > LEVELS_MAX:
                return "category_too_deep"
            self.edges.add((parent, child))
        return "accepted"

    def place(self, category: int, account: int, unit: str, *, is_open: bool, inside: bool) -> str:
        """Put an account, of this unit and open or not, directly into a category, or take it out."""
        if not self.categories[category].is_open:
            return "object_discarded"
        if not is_open:
            return "account_discarded"
        if not inside:
            self.members.discard((category, account))
        elif self.categories[category].unit != unit:
            return "currency_mismatch"
        else:
            self.members.add((category, account))
        return "accepted"
