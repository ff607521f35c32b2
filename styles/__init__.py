"""Style files, the library, mixing, generating and bases; imports nothing else of ours.

errors < storage < formats < bases < mixing < generation, and library over all but generation: each imports those before it.
"""
