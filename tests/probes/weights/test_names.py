"""What names of tensors say."""

import pytest

from probes.weights.names import kind_by_name, matches, notes_by_name, why_no_matrix


@pytest.mark.parametrize(
    ("name", "is_kernel", "kind"),
    [
        ("embeddings.word_embeddings.weight", False, "embedding"),
        ("model.embed_tokens.weight", False, "embedding"),
        ("embedding_bags.users.weight", False, "embedding"),
        ("user_embedding.0.weight", False, "embedding"),
        ("transformer.wte.weight", False, "embedding"),
        ("wte", False, "embedding"),
        ("pos_embed", False, "embedding"),
        ("embed.parametrizations.weight.original1", False, "embedding"),
        # A model that is called an embedder has other layers too, and patches are convolved.
        ("embedder.layer.0.ffn.weight", False, "linear"),
        ("patch_embed.proj.weight", True, "convolution"),
        ("embeddings.norm.weight", False, "linear"),
        ("h.0.attn.c_proj.weight", False, "attention"),
        ("stem.weight", True, "convolution"),
        ("fc.weight", False, "linear"),
    ],
)
def test_kinds_that_names_tell(name, is_kernel, kind):
    assert kind_by_name(name, is_kernel=is_kernel) == kind


def test_a_pattern_is_a_part_of_a_name_or_fits_the_whole():
    assert matches("a[0].w", ("[0]",))
    assert matches("a.w", ("b", "a.?"))
    assert not matches("a.w", ("A", "?.b"))
    assert not matches("a.w", ())


def test_what_is_no_matrix_whatever_its_entries_and_what_is_one_of_raw_weights():
    assert why_no_matrix("w", (3,)).startswith("vectors")
    assert why_no_matrix("w", (0, 3)) == "empty"
    assert why_no_matrix("w", (3, 3)) == ""
    assert "norm" in notes_by_name("0.weight_v")[0]
