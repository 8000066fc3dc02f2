"""Drawn pictures and what is said of them: figures in colours and textures, one to five at a time, letters and digits, all from a seed.

`looks` says what a picture may show and what is held out, `pictures` draws it, `sentences` tells of it truly, `folders` writes a set of
pictures with captions and descriptions. `scenes` and `talks` are what the small language model that looks is shown and asked.
"""
