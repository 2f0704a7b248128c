"""What a policy itself adds to the ground it stands on: the classes that it declares for numbers."""

from msgspec.structs import replace

from interceptor.policy.context import Context
from interceptor.policy.ruleset import RuleSet
from interceptor.values import Number


def grounded(context: Context, rules: RuleSet) -> Context:
    """The context with numbers of the classes that these rules see."""
    classify = rules.classify
    if classify is None:
        return context
    read = context.number

    def number(text: str) -> Number:
        return classify(read(text))

    return replace(context, number=number, declared=rules.classes)
