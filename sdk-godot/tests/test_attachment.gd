extends "case.gd"
## What the dock makes of a fleet's file to attach the project. What it does with it needs an
## editor.

const Attachment := preload("../addons/muster/editor/attachment.gd")

const FLEET := 'name = "my-game"\nmax_players = 8\n\n[regions.local]\nwarm = 3\nmax = 4\n'


func test_one_server_of_the_fleet_stands_in() -> void:
	equal(Attachment.name_in(FLEET), "my-game")
	var attached := FLEET.replace("warm = 3", "warm = 1") + '\n[env]\nSTAND_IN_OF_MUSTER = "1"\n'
	equal(Attachment.attached_fleet(FLEET), attached)


func test_an_environment_that_is_there_stays() -> void:
	var attached := Attachment.attached_fleet(FLEET + '[env]\nMAP = "dust"\n')
	equal(attached.count("[env]"), 1)
	check('STAND_IN_OF_MUSTER = "1"\nMAP = "dust"' in attached, attached)


func test_what_cannot_be_changed_is_said() -> void:
	equal(Attachment.attached_fleet('env = { MAP = "dust" }\n' + FLEET), "")
	equal(Attachment.name_in('[[ports]]\nname = "enet"\n'), "")
