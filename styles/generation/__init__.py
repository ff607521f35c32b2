"""From a request to pictures: samplers, batches, img2img, recipes in PNG files, comparison grids, the effect probe."""
