class_name MusterRegion
extends RefCounted
## A region, and where its latency is measured.

var name := ""
## Whether it has an edge and a node that can be used.
var is_served := false
## UDP addresses of its edges' beacons, [code]host:port[/code] each.
var beacons: Array[Dictionary] = []
