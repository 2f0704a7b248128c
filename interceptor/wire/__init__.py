"""The PBX's dialect: how its messages are written, and what their names mean.

Everything here is a function of bytes and text: no file, no socket, no clock.

=============  ====================================================================================================
``knowledge``  every command, notification and verb of both PBX generations, and the role of each parameter
``parameters`` queries and forms: decoded once, compared without case, changed segment by segment
``xml``        the one hardened XML parser
``answers``    ``Code`` and ``Message`` of the PBX's answers, and answers of our own
``ozml``       verbs, read and written
``codes``      the PBX's result codes and ours, with their sentences
``numbers``    what a dialled text means: canonical number, country, class
=============  ====================================================================================================

The law of this package: what a rule sees is what the PBX will read. Where two careful readers could differ, the message
is called ambiguous and names the parameter; nothing is repaired, guessed or decoded twice.
"""
