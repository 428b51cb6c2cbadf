extends RefCounted
## The preface: how a client proves its seat to an edge before its game's first packet, byte for
## byte as [code]protocol/vectors/preface.json[/code] has it. Bytes in, values out; no socket.

const MAGIC := "MSTR"
const VERSION := 1
const KIND_PREFACE := 1
const KIND_ACCEPTED := 2
const KIND_REFUSED := 3
const HEADER_BYTES := 6
## Longest token, in bytes.
const MAX_TOKEN_BYTES := 1024

## Why an edge refuses a token, by the byte it says.
const REFUSALS: Dictionary = {
	1: "refused_malformed",
	2: "refused_untrusted",
	3: "refused_expired",
	4: "refused_wrong_port",
	5: "refused_unavailable",
}

## [method answer_in] for what is no answer.
const NO_ANSWER := "no_answer"
## [method answer_in] for a yes.
const ACCEPTED := "accepted"


## The datagram that shows [param token]; empty if no edge would take it.
static func encode(token: String) -> PackedByteArray:
	var text := token.to_utf8_buffer()
	if text.is_empty() or text.size() > MAX_TOKEN_BYTES:
		return PackedByteArray()
	var bytes := MAGIC.to_ascii_buffer()
	bytes.append_array([VERSION, KIND_PREFACE])
	bytes.append_array(text)
	return bytes


## The same as the first bytes of a TCP connection: behind its length. The addon has no peer for
## TCP; a game's own may.
static func encode_tcp(token: String) -> PackedByteArray:
	var preface := encode(token)
	var bytes := PackedByteArray([preface.size() >> 8, preface.size() & 0xff])
	bytes.append_array(preface)
	return PackedByteArray() if preface.is_empty() else bytes


## What an edge says: [constant ACCEPTED], the code of a refusal, or [constant NO_ANSWER].
static func answer_in(bytes: PackedByteArray) -> String:
	if bytes.size() < HEADER_BYTES or bytes.slice(0, 4) != MAGIC.to_ascii_buffer():
		return NO_ANSWER
	if bytes[4] != VERSION:
		return NO_ANSWER
	if bytes[5] == KIND_ACCEPTED and bytes.size() == HEADER_BYTES:
		return ACCEPTED
	if bytes[5] == KIND_REFUSED and bytes.size() == HEADER_BYTES + 1:
		return REFUSALS.get(bytes[6], NO_ANSWER)
	return NO_ANSWER
