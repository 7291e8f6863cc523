"""Other ways to write the same rows, as plain as people write them."""
