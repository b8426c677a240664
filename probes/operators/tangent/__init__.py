"""The whole tangent kernel of a model, formed block by block of samples."""
