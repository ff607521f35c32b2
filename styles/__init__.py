"""Style files, the library, blending, generating and bases; imports nothing else of ours."""
