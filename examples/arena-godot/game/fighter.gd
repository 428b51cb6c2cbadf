class_name Fighter
extends Node2D
## One player in the arena. Its node is named after the player's seat, which stays the same when
## they drop out and come back.

const RADIUS := 18.0

## Who it is.
var player := ""
var score := 0
## Its player has dropped out and may come back.
var is_away := false
## Server only: where it is going.
var direction := Vector2.ZERO


func _process(_delta: float) -> void:
	queue_redraw()


func _draw() -> void:
	var color := Color.from_hsv(float(player.hash() % 100) / 100.0, 0.6, 0.95)
	if is_away:
		color.a = 0.3
	draw_circle(Vector2.ZERO, RADIUS, color)
	var font := ThemeDB.fallback_font
	var label := "%s  %d" % [player, score]
	draw_string(font, Vector2(-60, -26), label, HORIZONTAL_ALIGNMENT_CENTER, 120, 14, color)
