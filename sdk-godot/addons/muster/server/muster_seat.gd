class_name MusterSeat
extends RefCounted
## A seat of the server's match that somebody has.

var id := ""
## The player, as the studio's client named them.
var player := ""
## The player's team; empty if the queue has none.
var team := ""
