"""The policy of :mod:`bench.rules` in Lua, one text for HAProxy (Lua 5.3) and Envoy (LuaJIT)."""

from bench.rules import ALLOWED_PREFIXES, APPS, HOURS, REFUSED, UNKNOWN_APP, as_keys

_DECIDE = """
local function unescape(text)
  text = text:gsub("+", " ")
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local dialled = {"dialed", "recipient", "target"}

-- nil lets the message through; otherwise the code of the refusal
function decide(query)
  local values = {}
  for name, value in query:gmatch("([^&=]+)=([^&]*)") do
    values[unescape(name):lower()] = unescape(value)
  end
  local app = values.username or ""
  if apps[app] == nil or apps[app] ~= values.password then return unknown_app end
  local number = ""
  for _, name in ipairs(dialled) do
    if values[name] then number = values[name] end
  end
  if number:sub(1, 2) == "00" then number = "+" .. number:sub(3)
  elseif number:sub(1, 2) == "06" then number = "+36" .. number:sub(3) end
  local key = (values.command or "") .. ":" .. app .. ":"
  for length = shortest, math.min(longest, #number) do
    local window = denied[key .. number:sub(1, length)]
    if window ~= nil then
      if window == "" then return refused end
      local hour = tonumber(os.date("!%H"))
      local from, to = hours[window][1], hours[window][2]
      if from < to then
        if from <= hour and hour < to then return refused end
      elseif hour >= from or hour < to then return refused end
    end
  end
  for _, prefix in ipairs(allowed) do
    if number:sub(1, #prefix) == prefix then return nil end
  end
  return refused
end
"""


def policy(count: int) -> str:
    """A Lua text that defines ``decide(query)`` for a policy of ``count`` rules."""
    keys = as_keys(count)
    lengths = [len(key.rsplit(":", 1)[1]) for key in keys]
    lines = [
        f"local shortest, longest = {min(lengths)}, {max(lengths)}",
        f"local refused, unknown_app = {REFUSED[0]}, {UNKNOWN_APP[0]}",
        f"local apps = {{{', '.join(f'[{_quoted(name)}]={_quoted(password)}' for name, password in APPS.items())}}}",
        f"local hours = {{{', '.join(f'{name}={{{begin},{end}}}' for name, (begin, end) in HOURS.items())}}}",
        f"local allowed = {{{', '.join(_quoted(prefix) for prefix in ALLOWED_PREFIXES)}}}",
        "local denied = {",
        *(f"[{_quoted(key)}]={_quoted(window)}," for key, window in keys.items()),
        "}",
        _DECIDE,
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
