"""Bringing facts up to date, without trusting what comes.

``ports``     who fetches, and who keeps what was read
``source``    what a source is: where, how often, how many requests a day, who reads it
``schedule``  when a source is asked again, and when it is not: pure
``gates``     what looks wrong with a payload that can be read: pure
``folder``    what is remembered between two runs, on disk
``refresher`` the work
"""
