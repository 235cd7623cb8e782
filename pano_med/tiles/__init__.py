"""Tiles: where they lie, which one owns an object, and how they are joined again. No model, no files, no torch.

Images in memory (`pano_med.predict`) and slides on disk (`pano_med.slides`) are joined by the one rule in `join`:

Things: of all tiles that see an object, the one whose *core* holds the centre of the object's box owns it, and the
cores divide the image without gap or overlap (the contract of StarDist's big images: exactly one block is responsible
for each object). An object that two tiles still claim, because its centre differs a little between them, is placed
once: the second claim is dropped when most of it is taken. An object smaller than the overlap lies clear of the edges
of a tile that owns it; a larger one may be seen whole by nobody and is then reported and left out, never cut.

Stuff: logits of overlapping tiles are averaged with weights that fall to the tile's edge, because a network knows
least there.

Tiles are joined in the order of the grid. Joining a tile finishes its *cell*, the part of it above and left of the
tiles that follow; what it needs of earlier tiles is little, so nobody holds a whole image.
"""

from pano_med.tiles.grid import Grid, Span, Tile, taper
from pano_med.tiles.joining import Joined, claim, join
from pano_med.tiles.piece import NOBODY, Piece, cut_piece

__all__ = ["NOBODY", "Grid", "Joined", "Piece", "Span", "Tile", "claim", "cut_piece", "join", "taper"]
