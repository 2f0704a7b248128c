"""What a dialled text means: its canonical form, its country, and its class.

Read in this order; the first that fits is the answer:

1. an emergency number of the configured country, also written with the country code before it (``+36112``);
2. an extension of the plan;
3. a number that other countries understand: ``+`` or ``00`` before it, or the country's own international prefix;
4. a short number of the country, whose class is its price;
5. a national number, with or without the trunk prefix.

Blanks, dashes, dots, slashes and parentheses are what people put between digits; they mean nothing. Anything else, and
digits that are no number of the plan, are ``other``, their canonical form what was written.

Three things here are there against people who do not want to be understood:

* A text that is no clean number (``sip:0690123456@trunk``, ``0690123456,1``) has the class of the costliest number
  inside it, if that is premium, satellite or shared cost. Its canonical form stays the text, so no ``allow`` by number
  fits it.
* The same holds for digits which are a number only with a ``+`` that is not there (``8821612345678``): many trunks dial
  it.
* A number with too many digits has the class of its valid beginning if that is a costly one, since exchanges ignore
  what comes after; else it is ``other``, and no ``allow`` by class fits it.
* A text that is too long to be looked at, or holds too many numbers, is taken for the costliest.

A ``+`` that was not escaped arrives as a space, here as at the PBX. `` 36201234567`` is therefore read as those digits
without a plus. In the country of that code they can mean nothing else and are read so; elsewhere they are ``other``.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType, ShortNumberCost, shortnumberinfo

from interceptor.values import Number, NumberClass, NumberType
from interceptor.wire.vocabulary import MessageType

_LONGEST_TEXT = 1024
_LONGEST_CACHED = 64
_MOST_DIGITS = 17  # what phonenumbers takes; E.164 ends at 15
# Blanks and marks that people type, and what is not to be seen: what programs put around a number that was copied, too.
_SEPARATORS = re.compile(
    r"[\s\-./()\u00ad\u061c\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+"
)
_CLEAN = re.compile(r"\+?[0-9]+\Z")
_RUN = re.compile(r"[+0-9][0-9\s\-./()]*")
_NO_DIGITS = re.compile(r"[^0-9]+")
_PARTS = re.compile(r"[^\W\d_]|[,;@]")
_MOST_RUNS = 32  # of a message to several: a millisecond or two
_SHORTEST_RUN = 6
_LONGEST_EMERGENCY = 6
_SHORTEST_ABROAD = 8
_SHORTEST_SATELLITE = 11

_SATELLITE_CODES = ("870", "881", "882", "883")
_PREMIUM_CODES = ("979",)
_SHARED_CODES = ("808",)

# Personal numbers lead anywhere at the caller's cost and are priced like premium numbers where they exist.
# Where a plan cannot tell mobile from fixed (North America), and for voice over IP, the price is that of fixed.
_CLASSES = {
    PhoneNumberType.FIXED_LINE: NumberClass.FIXED,
    PhoneNumberType.MOBILE: NumberClass.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberClass.FIXED,
    PhoneNumberType.TOLL_FREE: NumberClass.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: NumberClass.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberClass.SHARED_COST,
    PhoneNumberType.VOIP: NumberClass.FIXED,
    PhoneNumberType.PERSONAL_NUMBER: NumberClass.PREMIUM,
}
_TYPES = {
    PhoneNumberType.FIXED_LINE: NumberType.FIXED_LINE,
    PhoneNumberType.MOBILE: NumberType.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberType.FIXED_LINE_OR_MOBILE,
    PhoneNumberType.TOLL_FREE: NumberType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: NumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST: NumberType.SHARED_COST,
    PhoneNumberType.VOIP: NumberType.VOIP,
    PhoneNumberType.PERSONAL_NUMBER: NumberType.PERSONAL_NUMBER,
    PhoneNumberType.PAGER: NumberType.PAGER,
    PhoneNumberType.UAN: NumberType.UAN,
    PhoneNumberType.VOICEMAIL: NumberType.VOICEMAIL,
}
_COSTS = {
    ShortNumberCost.PREMIUM_RATE: NumberClass.PREMIUM,
    ShortNumberCost.TOLL_FREE: NumberClass.TOLL_FREE,
    ShortNumberCost.STANDARD_RATE: NumberClass.FIXED,
}
_COSTLY = (NumberClass.PREMIUM, NumberClass.SATELLITE, NumberClass.SHARED_COST)
_CARE = {number_class: rank for rank, number_class in enumerate(NumberClass)}
_COSTLIEST = min(_COSTLY, key=_CARE.__getitem__)


Classify = Callable[[Number], Number]


class NumberReader:
    """Reads numbers as they are dialled in one country (ISO 3166) behind one extension plan.

    ``extensions`` are patterns of digits and ``x``, which stands for one digit. What was read is kept, at most
    ``cache_size`` texts.
    """

    def __init__(self, country: str, extensions: tuple[str, ...] = (), cache_size: int = 65536) -> None:
        # Left alone, the library reads a country's plan from disk when its first number comes: in the middle of a call.
        phonenumbers.PhoneMetadata.load_all()
        # And it compiles a country's expressions again when numbers of fifty others came between: five times the time.
        phonenumbers.enable_pattern_cache()
        self.country = country.upper()
        self._country_code = str(phonenumbers.country_code_for_region(self.country) or "")
        self._is_extension = extension_plan(extensions) if extensions else _never
        self._abroad = _international_prefix(self.country)
        # Two generations: a text read again moves to the young one, and the old one is dropped when that is full.
        self._half = max(1, cache_size // 2)
        self._young: dict[str, Number] = {}
        self._old: dict[str, Number] = {}

    def read(self, text: str) -> Number:
        """What the text means as a number; never raises."""
        number = self._young.get(text)
        return number if number is not None else self._read_older(text)

    def dialled(self, message: MessageType, values: dict[str, str], classify: Classify | None = None) -> Number | None:
        """The number that a message dials, ``None`` where it dials none; ``classify`` may give numbers other classes.

        The first of its parameters that has a value, unless a later one carries a costlier number: a message is judged
        by the worst it may do, whichever parameter the PBX dials in the end.
        """
        first: Number | None = None
        for name in message.dialled:
            value = values.get(name)
            if not value:
                continue
            number = self.read(value) if classify is None else classify(self.read(value))
            if first is None or (
                number.number_class in _COSTLY
                and (first.number_class not in _COSTLY or _CARE[number.number_class] < _CARE[first.number_class])
            ):
                first = number
        return first

    def others(
        self, message: MessageType, values: dict[str, str], judged: Number | None, classify: Classify | None = None
    ) -> tuple[Number, ...]:
        """The other numbers that a message dials beside the one it is judged by; what is no clean number is none."""
        line = "destination" if values.get("dialednumber") else ""  # of a Route: the outside line, not a party
        found = [self.read(value) for name in message.dialled if name != line and (value := values.get(name))]
        return tuple(
            number if classify is None else classify(number)
            for number in found
            if _CLEAN.match(number.canonical) and (judged is None or number.canonical != judged.canonical)
        )

    def calling(self, message: MessageType, values: dict[str, str], classify: Classify | None = None) -> Number | None:
        """The number that a message shows as calling, ``None`` where it shows none."""
        for name in message.caller:
            value = values.get(name)
            if value:
                number = self.read(value)
                return number if classify is None else classify(number)
        return None

    def inside(self, text: str) -> tuple[Number, ...]:
        """The numbers that a text which is not one clean number may dial, if others read it less strictly."""
        if len(text) > _LONGEST_TEXT:
            return ()
        plain = text if text.isascii() else _ascii_digits(text)
        digits = _SEPARATORS.sub("", plain)
        if _CLEAN.match(digits) and len(digits) <= _LONGEST_CACHED:
            bare = digits.lstrip("+0")
            runs = [digits.lstrip("+"), "0" + bare, "+" + bare] if len(bare) >= _SHORTEST_ABROAD else []
        else:
            runs = [run for each in _RUN.findall(plain) if len(run := _SEPARATORS.sub("", each)) >= _SHORTEST_RUN]
        return tuple(self._read_new(run[:_LONGEST_CACHED]) for run in dict.fromkeys(runs[:_MOST_RUNS]))

    def _read_older(self, text: str) -> Number:
        number = self._old.pop(text, None) or self._read_new(text)
        if len(text) <= _LONGEST_CACHED:
            if len(self._young) >= self._half:
                self._old, self._young = self._young, {}
            self._young[text] = number
        return number

    def _read_new(self, text: str) -> Number:
        if len(text) > _LONGEST_TEXT:  # nobody knows what may stand in it
            return Number(text, text, "", _COSTLIEST)
        digits = _SEPARATORS.sub("", text if text.isascii() else _ascii_digits(text))
        if not _CLEAN.match(digits) or len(digits) > _LONGEST_CACHED:
            return Number(text, text, "", self._costliest_inside(text))
        return (
            self._as_emergency(text, digits)
            or self._as_extension(text, digits)
            or self._as_international(text, digits)
            or self._as_short(text, digits)
            or self._as_national(text, digits)
            or Number(text, digits, "", self._costly(digits))
        )

    def _as_emergency(self, text: str, digits: str) -> Number | None:
        short = digits
        for prefix in (f"+{self._country_code}", f"00{self._country_code}"):
            if self._country_code and digits.startswith(prefix):
                short = digits[len(prefix) :]
        if len(short) <= _LONGEST_EMERGENCY and shortnumberinfo.is_emergency_number(short, self.country):
            return Number(text, short, self.country, NumberClass.EMERGENCY, NumberType.EMERGENCY)
        return None

    def _as_extension(self, text: str, digits: str) -> Number | None:
        if not self._is_extension(digits):
            return None
        return Number(text, digits, "", NumberClass.INTERNAL, NumberType.EXTENSION)

    def _as_international(self, text: str, digits: str) -> Number | None:
        if digits[0] == "+":
            canonical = digits
        elif digits.startswith("00"):  # also where the country's prefix goes on: `0011` in Australia, `009` in Colombia
            prefix = self._abroad(digits)
            canonical = "+" + digits[2 if prefix is None else prefix.end() :]
        else:
            return None
        parsed = self._parsed(canonical)
        if parsed is None or len(canonical) > _MOST_DIGITS:
            number_class = _class_by_code(canonical) or self._costly(digits)
            return Number(text, text if canonical[1:2] in ("", "0") else canonical, "", number_class)
        return self._public(text, parsed, canonical)

    def _as_short(self, text: str, digits: str) -> Number | None:
        if len(digits) > 6 or digits[0] == "0":
            return None
        short = PhoneNumber(country_code=int(self._country_code or 0), national_number=int(digits))
        if not shortnumberinfo.is_possible_short_number_for_region(short, self.country):
            return None
        number_class = _COSTS.get(shortnumberinfo.expected_cost_for_region(short, self.country))
        if number_class is None and shortnumberinfo.is_valid_short_number_for_region(short, self.country):
            number_class = NumberClass.OTHER
        return Number(text, digits, self.country, number_class, NumberType.SHORT) if number_class is not None else None

    def _as_national(self, text: str, digits: str) -> Number | None:
        parsed = self._parsed(digits)
        if parsed is None or len(digits) > _MOST_DIGITS:
            return None
        abroad = str(parsed.country_code) != self._country_code  # dialled with the country's own international prefix
        if not abroad and phonenumbers.number_type(parsed) == PhoneNumberType.UNKNOWN:
            return None
        return self._public(text, parsed, _in_e164(parsed))

    def _public(self, text: str, parsed: PhoneNumber, canonical: str) -> Number:
        """A number with its country code; only a valid one is put into other form than the ``canonical`` given."""
        plan_type = phonenumbers.number_type(parsed)
        if plan_type != PhoneNumberType.UNKNOWN:
            canonical = _in_e164(parsed)
        country = phonenumbers.region_code_for_number(parsed) or ""
        number_class = self._class_of(parsed, canonical)
        number_type = _TYPES.get(plan_type, NumberType.UNKNOWN)
        return Number(text, canonical, country if len(country) == 2 else "", number_class, number_type)

    def _class_of(self, parsed: PhoneNumber, canonical: str) -> NumberClass:
        by_code = _class_by_code(canonical)
        if by_code is not None:
            return by_code
        number_type = phonenumbers.number_type(parsed)
        if number_type != PhoneNumberType.UNKNOWN:
            return _CLASSES.get(number_type, NumberClass.OTHER)
        found = _CLASSES.get(_type_of_beginning(parsed), NumberClass.OTHER)
        return found if found in _COSTLY else NumberClass.OTHER

    def _parsed(self, digits: str) -> PhoneNumber | None:
        try:
            return phonenumbers.parse(digits[:_MOST_DIGITS], self.country)
        except phonenumbers.NumberParseException:
            return None

    def _costly(self, digits: str) -> NumberClass:
        """The class of digits that are no valid number as they stand, if they may reach a costly one, else ``other``.

        They may with a superfluous ``+`` or zero gone, as a foreign number whose ``+`` is missing, and as the beginning
        of any of these.
        """
        bare = digits.lstrip("+0")
        if len(bare) < _SHORTEST_ABROAD:
            return NumberClass.OTHER
        costliest = NumberClass.OTHER
        for reading in dict.fromkeys((digits.lstrip("+"), "0" + bare, "+" + bare)):
            parsed = self._parsed(reading)
            if parsed is None:
                continue
            found = self._class_of(parsed, f"+{parsed.country_code}")
            if found is NumberClass.SATELLITE and len(bare) < _SHORTEST_SATELLITE:
                continue
            if found in _COSTLY and _CARE[found] < _CARE[costliest]:
                costliest = found
        return costliest

    def _costliest_inside(self, text: str) -> NumberClass:
        """The class of the costliest number in a text that is not one number, if it is a costly one, else ``other``.

        Numbers are looked for as it stands, as one who undoes its escapes reads it, and as one who passes over whatever
        stands between digits, where that is neither a letter nor what parts a list. More of them than are looked at
        count as the costliest.
        """
        plain = text if text.isascii() else _ascii_digits(text)
        texts = (plain, unquote(plain)) if "%" in plain else (plain,)
        found = [_SEPARATORS.sub("", run) for each in texts for run in _RUN.findall(each)]
        found += [_NO_DIGITS.sub("", each) for each in texts if _PARTS.search(each) is None]
        runs = dict.fromkeys(run for run in found if len(run) >= _SHORTEST_RUN)
        if len(runs) > _MOST_RUNS:
            return _COSTLIEST
        costliest = NumberClass.OTHER
        for run in runs:
            found_class = self._read_new(run[:_LONGEST_CACHED]).number_class
            if found_class in _COSTLY and _CARE[found_class] < _CARE[costliest]:
                costliest = found_class
        return costliest


def _international_prefix(country: str) -> Callable[[str], "re.Match[str] | None"]:
    """What finds the prefix that a country dials before numbers of others, whichever of its carriers it names."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country) if country else None
    prefix = metadata.international_prefix if metadata is not None else None
    return re.compile(prefix or r"(?!)").match


@lru_cache(4)
def emergency_numbers(country: str) -> tuple[str, ...]:
    """Every emergency number of a country, in canonical form: all that :class:`NumberReader` takes for one there."""
    metadata = phonenumbers.PhoneMetadata.short_metadata_for_region(country)
    described = None if metadata is None else metadata.emergency
    if metadata is None or described is None or not described.national_number_pattern:
        return ()
    fits = re.compile(described.national_number_pattern).fullmatch
    possible = described.possible_length or range(2, _LONGEST_EMERGENCY + 1)
    lengths = [length for length in possible if 0 < length <= _LONGEST_EMERGENCY]
    candidates = (f"{digits:0{length}}" for length in lengths for digits in range(10**length))
    return tuple(text for text in candidates if fits(text) and shortnumberinfo.is_emergency_number(text, country))


def extension_plan(extensions: tuple[str, ...]) -> Callable[[str], object]:
    """What tells an extension of the plan; patterns of digits and ``x``, which stands for one digit."""
    plan = "|".join(re.escape(each.lower()).replace("x", "[0-9]") for each in extensions)
    return re.compile(rf"(?:{plan})\Z").match


def _in_e164(parsed: PhoneNumber) -> str:
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _class_by_code(canonical: str) -> NumberClass | None:
    """The class of the codes that belong to no country, whatever follows them."""
    code = canonical[1:4]
    if code in _SATELLITE_CODES:
        return NumberClass.SATELLITE
    if code in _PREMIUM_CODES:
        return NumberClass.PREMIUM
    return NumberClass.SHARED_COST if code in _SHARED_CODES else None


def _type_of_beginning(parsed: PhoneNumber) -> int:
    """The type of the longest valid number that an invalid one begins with, ``UNKNOWN`` where there is none."""
    code = parsed.country_code or 0
    region = phonenumbers.region_code_for_country_code(code)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    general = metadata.general_desc if metadata is not None else None
    national = phonenumbers.national_significant_number(parsed)
    for length in reversed(general.possible_length if general is not None else ()):
        if 0 < length < len(national):
            beginning = PhoneNumber()
            beginning.merge_from(parsed)
            beginning.national_number = int(national[:length])
            number_type: int = phonenumbers.number_type(beginning)
            if number_type != PhoneNumberType.UNKNOWN:
                return number_type
    return PhoneNumberType.UNKNOWN


def _ascii_digits(text: str) -> str:
    """Text with the decimal digits of every script, and the wide plus, as ASCII."""
    return "".join(
        str(digit) if (digit := unicodedata.decimal(each, -1)) >= 0 else "+" if each == "\uff0b" else each
        for each in text
    )


def _never(_: str) -> None:
    return None
