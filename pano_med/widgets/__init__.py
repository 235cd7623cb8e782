"""Interactive pictures for notebooks. They take results or a callable and never load models. No torch."""
