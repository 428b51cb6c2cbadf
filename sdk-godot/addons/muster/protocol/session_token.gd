extends RefCounted
## Reads what a session token (PASETO v4.public) says. It checks no signature, for which the engine
## has no Ed25519: edges do, and a game server asks its agent. So nothing may be decided by what
## this says.

const Json := preload("../core/json.gd")

const HEADER := "v4.public."
## Bytes of the signature behind the claims.
const SIGNATURE_BYTES := 64
const MAX_TOKEN_BYTES := 1024


## The claims of [param token], empty if it is no session token: [code]ns[/code] namespace,
## [code]srv[/code] server, [code]prt[/code] port, [code]seat[/code], [code]sub[/code] player,
## [code]iat[/code] and [code]exp[/code] in RFC 3339.
static func claims_in(token: String) -> Dictionary:
	if token.length() > MAX_TOKEN_BYTES or not token.begins_with(HEADER):
		return {}
	var body := token.substr(HEADER.length()).get_slice(".", 0)
	var bytes := _decode(body)
	if bytes.size() <= SIGNATURE_BYTES:
		return {}
	var claims: Variant = Json.object_in(
		bytes.slice(0, bytes.size() - SIGNATURE_BYTES).get_string_from_utf8()
	)
	if claims is Dictionary:
		var found: Dictionary = claims
		return found
	return {}


## When it stops being valid, Unix milliseconds; 0 if it does not say.
static func expires_at_ms(token: String) -> int:
	var text := Json.text(claims_in(token), "exp")
	if text == "":
		return 0
	return int(Time.get_unix_time_from_datetime_string(text.trim_suffix("Z"))) * 1000


static func _decode(url_safe: String) -> PackedByteArray:
	for character in url_safe:
		if not (
			character == "-"
			or character == "_"
			or character.is_valid_identifier()
			or character.is_valid_int()
		):
			return PackedByteArray()
	var text := url_safe.replace("-", "+").replace("_", "/")
	if text.length() % 4 == 1:
		return PackedByteArray()
	text += "=".repeat((4 - text.length() % 4) % 4)
	return Marshalls.base64_to_raw(text)
