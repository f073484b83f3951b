//! Lists of fixed-size elements that are read where they lie: on the hot path a receipt or an
//! acknowledged range is never copied into a vector of its own.

/// Declares a list type over `$item`, whose encoded form is `$element`, a FlatBuffers scalar or
/// struct of `$bytes` bytes: `$read` reads one, `$written` gives the one to write.
macro_rules! list {
    ($(#[$doc:meta])* $name:ident, $item:ty, $element:ty, $bytes:literal, $read:expr, $written:expr) => {
        $(#[$doc])*
        ///
        /// It borrows either a slice of the caller's or the bytes of a frame, and costs nothing to
        /// make or to copy.
        #[derive(Clone, Copy)]
        pub struct $name<'a>(Items<'a>);

        #[derive(Clone, Copy)]
        enum Items<'a> {
            Slice(&'a [$item]),
            Encoded(&'a [[u8; $bytes]]),
        }

        impl<'a> $name<'a> {
            /// A list without elements.
            pub const EMPTY: Self = Self(Items::Slice(&[]));

            /// Number of elements.
            #[must_use]
            pub const fn len(&self) -> usize {
                match self.0 {
                    Items::Slice(items) => items.len(),
                    Items::Encoded(items) => items.len(),
                }
            }

            /// Whether there are none.
            #[must_use]
            pub const fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The element at `index`, if there is one.
            #[must_use]
            pub fn get(&self, index: usize) -> Option<$item> {
                match self.0 {
                    Items::Slice(items) => items.get(index).copied(),
                    Items::Encoded(items) => items.get(index).map($read),
                }
            }

            /// The elements, one after the other.
            pub fn iter(
                &self,
            ) -> impl ExactSizeIterator<Item = $item> + DoubleEndedIterator + use<'a> {
                let list = *self;
                (0..list.len()).map(move |index| {
                    list.get(index).expect("the index is below the length")
                })
            }

            /// The list that a verified table holds.
            pub(crate) fn from_vector(
                vector: Option<flatbuffers::Vector<'a, $element>>,
            ) -> Self {
                let bytes = vector.map_or(&[][..], |vector| vector.bytes());
                let (items, rest) = bytes.as_chunks::<$bytes>();
                assert!(rest.is_empty(), "a vector holds whole elements");
                Self(Items::Encoded(items))
            }

            /// Writes the list as a vector; `None` when it is empty, which takes no bytes.
            pub(crate) fn build(
                &self,
                builder: &mut $crate::encoder::Builder,
            ) -> Option<flatbuffers::WIPOffset<flatbuffers::Vector<'static, $element>>> {
                (!self.is_empty())
                    .then(|| builder.create_vector_from_iter(self.iter().map($written)))
            }
        }

        impl<'a> From<&'a [$item]> for $name<'a> {
            fn from(items: &'a [$item]) -> Self {
                Self(Items::Slice(items))
            }
        }

        impl PartialEq for $name<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }

        impl Eq for $name<'_> {}

        impl core::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        }
    };
}

pub(crate) use list;
