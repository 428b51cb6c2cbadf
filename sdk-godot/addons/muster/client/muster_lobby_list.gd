class_name MusterLobbyList
extends MusterResult
## A page of public lobbies, those that take fewest players first.

var lobbies: Array[MusterLobby] = []
## Where the next page begins: give it as [code]after[/code]. Empty: there is none.
var next := ""
