--[[
  What became of a purchase, one character on the wire (core/codes.ts says what each means). Locals, because a table of them would be
  built by every run of a script.

  KEYS    none
]]
local WON = 'w'
local RESERVED = 'r'
local CONFIRMED = 'c'
local REJECTED = 'x'
local DRY = 'd'
local LIMIT_REACHED = 'l'
local NOT_OPEN = 'n'
local CLOSED = 'e'
local PAUSED = 'p'
local BUSY = 'b'
local UNSTOCKED = 'u'
local BAD_REQUEST = 'm'
