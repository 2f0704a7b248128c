"""OzML as the PBX runs it: the document, the three sets of verbs, and the session that carries them out on a call."""
